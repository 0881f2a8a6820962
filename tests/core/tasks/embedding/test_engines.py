"""The parts of the engine "ray" that need no Ray; tests/environments/test_ray.py runs it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from clip_core.tasks.embedding import EmbeddedDataset, embed, engines
from clip_core.tasks.embedding.embedder import ModelSettings
from clip_core.tasks.embedding.engines import RayEngine, _value_of, _Worker
from clip_core.tasks.embedding.manifest import is_done
from clip_core.tasks.embedding.places import Location
from clip_core.tasks.search import OtherModelError
from support.embedding import opened, read, write_images
from support.messages import naming
from support.search import OTHER, stand_in


@pytest.fixture
def ray(monkeypatch):
    """A stand-in for the package."""
    found = SimpleNamespace(nodes=list)
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, found)
    return found


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    write_images(str(tmp_path / "images"), [1])
    with pytest.raises(ImportError, match=naming("clip-zoo[ray]")):
        embed(tmp_path / "images", tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("nodes", "workers", "expected"),
    [
        ([{"CPU": 16}], None, (1, {"num_cpus": 16})),
        ([{"CPU": 16}, {"CPU": 8}], None, (2, {"num_cpus": 8})),
        ([{"CPU": 16}], 3, (3, {"num_cpus": 5})),
        ([{"CPU": 2}], 4, (4, {"num_cpus": 1})),
        ([{"CPU": 64, "GPU": 8}, {"CPU": 64, "GPU": 8}, {"CPU": 4}], None, (16, {"num_cpus": 8, "num_gpus": 1})),
        ([{"CPU": 16, "GPU": 1}], 2, (2, {"num_cpus": 8, "num_gpus": 0.5})),
    ],
)
def test_workers_fit_on_the_smallest_machine(ray, nodes, workers, expected):
    ray.nodes = lambda: [{"Alive": True, "Resources": node} for node in nodes] + [{"Alive": False, "Resources": {}}]
    assert RayEngine(workers)._shares(ray) == expected


@pytest.mark.parametrize("address", [None, "10.0.0.1:6379"])
def test_a_ray_that_cannot_be_reached_is_told_in_one_line(ray, monkeypatch, tmp_path, address):
    def init(**_):
        raise Exception("__slow__\nduring startup")  # noqa: TRY002  as Ray does

    ray.init, ray.is_initialized = init, lambda: False
    monkeypatch.setenv("RAY_ADDRESS", address or "")
    write_images(str(tmp_path / "images"), [1])
    with pytest.raises(OSError, match=naming("ray", "__slow__", *filter(None, [address]))) as refusal:
        embed(tmp_path / "images", tmp_path / "out", engine="ray", model="colours")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_a_worker_embeds_the_pieces_that_it_is_given(tmp_path):
    images = write_images(str(tmp_path / "images"), range(6))
    with stand_in():
        embed(images, tmp_path / "out", model="colours", rows_per_part=4)
        place, facts = Location.open(tmp_path / "out"), EmbeddedDataset(tmp_path / "out").facts
        source = opened(images)
        first, second = source.pieces()
        expected = read(str(tmp_path / "out"))
        place.remove(f"embeddings/{second.file}")
        batch = {"piece": [json.dumps(asdict(first)), json.dumps(asdict(second))]}
        rows = _Worker(ModelSettings("colours", "torch"), source, place, facts)(batch)["result"]
        done, written = (engines._result(_value_of(json.loads(row))) for row in rows)
        assert (done.piece, done.images, written.piece, written.images) == (first.name, 0, second.name, 2)
        assert is_done(place, second)
        assert read(str(tmp_path / "out")).equals(expected)
        other = _Worker(ModelSettings(OTHER, "torch"), source, place, facts)
        with pytest.raises(OtherModelError, match=naming(OTHER)):
            _value_of(json.loads(other(batch)["result"][0]))


def test_errors_keep_their_class_on_the_way():
    for kind in (FileNotFoundError, PermissionError, ImportError, ValueError, OtherModelError):

        def fail(kind=kind):
            raise kind("told")

        with pytest.raises(kind, match="told"):
            _value_of(json.loads(json.dumps(engines._or_error(fail))))
