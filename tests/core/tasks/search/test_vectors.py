from __future__ import annotations

import numpy as np
import pytest

from clip_core.tasks.search.vectors import Lists, candidates, largest, make_lists, open_vectors, write_vectors
from support.messages import naming
from support.tolerances import ROUNDING


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def clustered() -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.standard_normal((40, 24))
    return unit(centres[random.integers(0, 40, 3000)] + 0.5 * random.standard_normal((3000, 24)))


def test_written_vectors_are_read_and_rest_is_ignored(tmp_path, clustered):
    path = tmp_path / "vectors"
    write_vectors(path, 0, clustered[:5])
    write_vectors(path, 3, clustered[5:9])
    assert (open_vectors(path, 6, 24) == np.concatenate([clustered[:3], clustered[5:8]])).all()
    assert open_vectors(path, 0, 24).shape == (0, 24)
    with pytest.raises(ValueError, match=naming(str(path), 7 * 24 * 4, 8 * 24 * 4)):
        open_vectors(path, 8, 24)


def test_the_largest_come_first_and_equal_ones_in_order():
    assert largest(np.array([1.0, 3, 2, 3]), 3).tolist() == [1, 3, 2]
    assert largest(np.array([1.0, 3]), 5).tolist() == [1, 0]


def test_lists_hold_every_vector_once_and_find_most_of_the_nearest(clustered, tmp_path):
    lists, order = make_lists(clustered)
    assert sorted(order) == list(range(3000))
    assert lists.starts[0] == 0
    assert lists.starts[-1] == 3000
    lists.save(tmp_path / "lists.npz")
    lists, laid = Lists.load(tmp_path / "lists.npz"), clustered[order]
    found, expected = 0, 0
    for query in clustered[:50]:
        places, scores = candidates(laid, query, lists, 16)
        assert len(places) < 2000
        assert scores == pytest.approx(laid[places] @ query, abs=ROUNDING)
        nearest = set(largest(laid @ query, 10).tolist())
        found += len(nearest & set(places[largest(scores, 10)].tolist()))
        expected += 10
    assert found / expected > 0.95


def test_vectors_behind_the_lists_are_found(clustered):
    lists, order = make_lists(clustered[:2000])
    laid = np.concatenate([clustered[:2000][order], clustered[2000:]])
    places, scores = candidates(laid, clustered[2500], lists, 1)
    assert places[scores.argmax()] == 2500


def test_the_fewer_are_allowed_the_more_lists_are_read(clustered):
    lists, order = make_lists(clustered)
    laid = clustered[order]
    allowed = np.random.default_rng(1).random(3000) < 0.25
    everywhere, _ = candidates(laid, clustered[0], lists, 8)
    places, scores = candidates(laid, clustered[0], lists, 8, allowed)
    assert allowed[places].all()
    assert scores == pytest.approx(laid[places] @ clustered[0], abs=ROUNDING)
    assert 0.5 < len(places) / len(everywhere) < 2
    places, _ = candidates(laid, clustered[0], None, 8, allowed)
    assert places.tolist() == np.flatnonzero(allowed).tolist()
    assert len(candidates(laid, clustered[0], None, 8, np.zeros(3000, bool))[0]) == 0
    assert len(candidates(laid, clustered[0], lists, 8, np.zeros(3000, bool))[0]) == 0
