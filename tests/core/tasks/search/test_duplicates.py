from __future__ import annotations

import shutil
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from clip_core.tasks.search import ImageIndex
from clip_core.tasks.search import duplicates as duplicates_module
from support.search import save_image, stand_in, unit
from support.tolerances import ROUNDING


@pytest.fixture
def index(tmp_path):
    photos = tmp_path / "photos"
    first = save_image(photos / "a.png", (250, 10, 10))
    shutil.copy(first, photos / "b.png")
    Image.open(first).save(photos / "c.bmp")
    save_image(photos / "d.png", (249, 11, 10))
    save_image(photos / "e.png", (0, 250, 0))
    with stand_in(), ImageIndex(tmp_path / "index", model="colours", create=True) as made:
        made.add([photos])
        yield made


@pytest.mark.parametrize("block", [1, 2, 2048])
def test_kinds_are_told_apart(index, block, monkeypatch):
    monkeypatch.setattr(duplicates_module, "_BLOCK", block)
    compared = []
    groups = index.duplicates(threshold=0.99, on_progress=compared.append)
    found = [(group.kind, [path.name for path in group.images]) for group in groups]
    assert found == [("file", ["a.png", "b.png"]), ("pixels", ["a.png", "c.bmp"]), ("similar", ["a.png", "d.png"])]
    assert 0.99 < groups[-1].similarity < 1
    assert sum(compared) == 3


def test_the_threshold_decides_and_nothing_is_deleted(index, tmp_path):
    assert [group.kind for group in index.duplicates(threshold=1.0)] == ["file", "pixels"]
    (group,) = [group for group in index.duplicates(threshold=0.01) if group.kind == "similar"]
    assert len(group.images) == 3
    assert len(list((tmp_path / "photos").iterdir())) == len(index) == 5


def test_similarity_is_that_of_neighbours(tmp_path):
    angles = np.radians([0, 10, 20, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    groups = duplicates_module._similar(vectors, np.arange(4), 0.98, None)
    ((members, similarity),) = groups
    assert members == [0, 1, 2]
    assert 0.98 < similarity < np.cos(np.radians(9))


@pytest.mark.parametrize("block", [1, 3, 16, 2048])
def test_groups_are_connected_components_of_any_blocks(block, monkeypatch):
    monkeypatch.setattr(duplicates_module, "_BLOCK", block)
    random = np.random.default_rng(5)
    vectors = unit(random.normal(size=(40, 3)))
    places = random.permutation(40)[:33]
    scores = vectors[places] @ vectors[places].T
    expected = []
    left = set(range(33))
    while left:
        group, edge = set(), {min(left)}
        while edge:
            group |= edge
            edge = {other for one in edge for other in left - group if scores[one, other] >= 0.93}
        left -= group
        if len(group) > 1:
            pairs = [scores[one, two] for one in group for two in group if one < two and scores[one, two] >= 0.93]
            expected.append((sorted(group), min(pairs)))
    assert 3 < len(expected) < 12
    found = duplicates_module._similar(vectors, places, 0.93, None)
    assert [group for group, _ in found] == [group for group, _ in expected]
    np.testing.assert_allclose([low for _, low in found], [low for _, low in expected], rtol=0, atol=ROUNDING)


def test_the_memory_does_not_grow_with_the_number_of_pairs(monkeypatch):
    monkeypatch.setattr(duplicates_module, "_BLOCK", 256)
    vectors = np.tile(np.float32([0.6, 0.8]), (1200, 1))
    tracemalloc.start()
    try:
        ((members, similarity),) = duplicates_module._similar(vectors, np.arange(1200), 0.9, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert members == list(range(1200))
    assert abs(similarity - 1) < ROUNDING
    assert peak < 16e6  # 720,000 pairs as Python objects take five times as much
