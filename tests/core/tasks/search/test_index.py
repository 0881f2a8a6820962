from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_core.tasks.search import Hit, ImageIndex, OtherModelError
from support.messages import naming
from support.search import OTHER, Colours, save_image, stand_in
from support.tolerances import ROUNDING

RED, PURPLE, BLUE, GREEN = (255, 0, 0), (200, 0, 200), (0, 0, 255), (0, 255, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    for name, colour in {"red": RED, "purple": PURPLE, "blue": BLUE, "green": GREEN}.items():
        save_image(folder / f"photos/{name}.png", colour)
    with stand_in(), ImageIndex(folder / "index", model="colours", create=True) as index:
        index.add([folder / "photos"])
    return folder


@pytest.fixture
def index(folder):
    with stand_in(), ImageIndex(folder / "index") as opened:
        yield opened


def names(hits: list[Hit]) -> list[str]:
    return [hit.path.stem for hit in hits]


def test_a_text_finds_images_with_the_cosine_as_score(index):
    hits = index.search(["red"], top_k=2)
    assert names(hits) == ["red", "purple"]
    query = index.model.encode_texts(["red"])[0]
    for hit in hits:
        assert hit.score == pytest.approx(float(index.model.encode_images([hit.path])[0] @ query), abs=ROUNDING)


def test_many_new_images_are_encoded_by_the_prepared_encoder(tmp_path, monkeypatch):
    many = Colours()
    monkeypatch.setattr(Colours, "prepared", lambda self: many, raising=False)
    for number in range(70):
        save_image(tmp_path / f"photos/{number}.png", (number, 0, 0))
    with stand_in(), ImageIndex(tmp_path / "index", model="colours", create=True) as index:
        assert index.add([tmp_path / "photos"]).added == 70
        assert index.model.encoder is not many


def test_an_image_finds_images(index):
    assert names(index.search(images=[Image.new("RGB", (5, 5), BLUE)], top_k=2)) == ["blue", "purple"]


def test_queries_add_and_subtract(index):
    assert names(index.search(["red", "blue"], top_k=1)) == ["purple"]
    assert names(index.search(["red"], images=[Image.new("RGB", (5, 5), BLUE)], top_k=1)) == ["purple"]
    assert names(index.search(["red blue"], without=["red"], top_k=1)) == ["blue"]
    assert names(index.search(without=["red"]))[-1] == "red"


@pytest.mark.parametrize("given", [{"texts": [None]}, {"texts": ["a"], "without": [b"a"]}])
def test_texts_that_are_no_strings_are_refused(index, given):
    with pytest.raises(TypeError, match=naming(type(next(reversed(given.values()))[0]).__name__)):
        index.search(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"texts": "red"},
        {"without": "red"},
        {"texts": ["red"], "where": "size<2MB"},
        {"images": "query.png"},
        {"images": Image.new("RGB", (5, 5), BLUE)},
        {"images": np.zeros((5, 5, 3), np.uint8)},
    ],
)
def test_one_text_or_image_in_place_of_several_is_refused(index, folder, given):
    name = list(given)[-1]
    with pytest.raises(TypeError, match=naming(name)):
        index.search(**given)
    with pytest.raises(TypeError, match=naming("sources")):
        index.add(str(folder / "photos"))
    with pytest.raises(TypeError, match=naming("paths")):
        index.remove(str(folder / "photos"))
    assert len(index) == 4


def test_several_are_any_that_can_be_counted_off(index):
    assert names(index.search((text for text in ("red", "blue")), top_k=1)) == ["purple"]
    assert names(index.search(images=(Image.new("RGB", (5, 5), colour) for colour in (BLUE,)), top_k=1)) == ["blue"]
    assert index.search(["red"], where=(text for text in ("size>1GB",))) == []
    assert index.remove(path for path in ("nowhere", "photos/nowhere.png")) == 0


def test_probabilities_are_those_of_the_model_among_the_hits(index):
    hits = index.search(["red"], top_k=3, probabilities=True)
    shares = np.exp([10 * hit.score for hit in hits])
    assert [hit.probability for hit in hits] == pytest.approx(list(shares / shares.sum()), abs=ROUNDING)
    assert index.search(["red"], top_k=1)[0].probability is None


def test_conditions_narrow_the_hits(index, folder):
    assert names(index.search(["red"], where=[f"folder={folder}/photos", "size<1MB"])) == names(index.search(["red"]))
    assert index.search(["red"], where=["folder=/elsewhere"], probabilities=True) == []


def test_bad_queries_are_refused(index):
    for query in ({}, {"texts": ["red", " "]}, {"texts": ["red"], "without": ["red"]}):
        with pytest.raises(ValueError, match=naming()):
            index.search(**query)
    with pytest.raises(ValueError, match=naming("top_k")):
        index.search(["red"], top_k=0)
    with pytest.raises(ValueError, match=naming("threshold")):
        index.duplicates(threshold=1.5)


def test_another_model_is_refused_by_name(folder):
    with stand_in(), ImageIndex(folder / "index", model=OTHER) as index:
        with pytest.raises(OtherModelError, match=naming(OTHER, "colours")):
            index.search(["red"])
        with pytest.raises(OtherModelError, match=naming(OTHER, "colours")):
            index.add([folder / "photos"])
        assert len(index) == 4


def test_other_preprocessing_is_refused_by_setting(folder):
    with stand_in(), ImageIndex(folder / "index") as index:
        facts = index.facts
        facts["preprocessing"] = {"size": {"shortest_edge": 2}}
        index._store.set_facts(preprocessing=facts["preprocessing"])
        try:
            with pytest.raises(OtherModelError, match=naming("size", 1, 2)):
                index.search(["red"])
        finally:
            index._store.set_facts(preprocessing={"size": {"shortest_edge": 1}})


def test_an_index_remembers_its_model(index):
    assert index.facts["model"] == "colours"
    assert index.facts["dtype"] == "float32"
    assert {"python", "clip-zoo", "torch"} <= index.facts["versions"].keys()


def test_removed_images_are_never_found(tmp_path):
    for name in ("a/red", "a/blue", "b/red"):
        save_image(tmp_path / f"{name}.png", RED)
    with stand_in(), ImageIndex(tmp_path / "index", model="colours", create=True) as index:
        index.add([tmp_path / "a", tmp_path / "b"])
        assert index.remove([tmp_path / "b/red.png", tmp_path / "absent"]) == 1
        assert index.remove([tmp_path / "a"]) == 2
        assert index.search(["red"]) == []
    assert (tmp_path / "a/red.png").exists()
