"""`clip-zoo index`, killed at random moments while its folder changes, loses nothing and stores nothing twice."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from statistics import median
from typing import NamedTuple, Self

import numpy as np
import pytest
from PIL import Image

from clip_core.tasks.search import ImageIndex
from clip_core.tasks.search.reading import hash_of_file
from support.killed_index import STEPS, IndexCommand, Kill
from support.programs import ROOT
from support.search import save_image
from support.tolerances import ROUNDING

sys.path.append(str(ROOT / "examples" / "shapes"))

import drawing
import scenes

KILLS = int(os.environ.get("CLIP_ZOO_KILLS", "0"))  # `make test-kills` sets it
SEED = int(os.environ.get("CLIP_ZOO_SEED", "0"))
MOST = 300  # images
LARGE = (640, 640)  # pixels, so that reading takes seconds, and images are committed meanwhile
TIMES = {"committing": 2, "removing rows": 2}  # that these take place in a run; more often in a slow one

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the command is forked, as on Linux alone")


class ChangingFolder:
    """A folder of images, and what an index of it may hold after a kill.

    Args:
        folder: the folder, which is made.
        pool: image files of different contents, twice as many as the folder has images.
        random: chooses what changes.
    """

    def __init__(self, folder: Path, pool: list[Path], random: np.random.Generator) -> None:
        self.folder, self._random = folder, random
        self._pool = {hash_of_file(path): path for path in pool}
        self._made = 0
        self.contents: dict[Path, bytes | None] = {}  # hashes; None for a file that is no image
        self.allowed: dict[Path, set[bytes | None]] = {}  # what the index may have at a path; None for nothing
        self.stored: dict[Path, bytes] = {}  # what the index held last
        self._acknowledged: set[tuple[Path, bytes | None]] = set()  # in their present state
        folder.mkdir()
        self._add(len(pool) // 2)

    def __len__(self) -> int:
        return len(self.contents)

    def change(self) -> None:
        """Delete a fifth of the files, overwrite a fifth, damage one, give some another time, and add new ones."""
        wanted, paths = len(self), sorted(self.contents)
        order = [paths[place] for place in self._random.permutation(wanted)]
        fifth = max(1, wanted // 5)
        for path in order[:fifth]:
            path.unlink()
            del self.contents[path]
            self._may_be(path, None)
        for path in order[fifth : 2 * fifth]:
            self._write(path, self._unused())
        damaged, *others = order[2 * fifth :]
        damaged.write_bytes(b"no image")
        self.contents[damaged] = None
        self._may_be(damaged, None)
        for path in others[: fifth // 2]:
            os.utime(path, ns=(self._made, self._made))
        self._add(wanted - len(self))

    def acknowledge(self, path: Path) -> bool:
        """Note that the command has told that it stored an image; return False if it told it before."""
        is_new = (path, self.contents[path]) not in self._acknowledged
        self._acknowledged.add((path, self.contents[path]))
        self.allowed[path] = {self.contents[path]}
        return is_new

    def lost(self, stored: dict[Path, bytes]) -> list[Path]:
        """Return the paths at which an index has something else than it may."""
        assert stored.keys() <= self.allowed.keys()
        return [path for path, allowed in self.allowed.items() if stored.get(path) not in allowed]

    def seen(self, stored: dict[Path, bytes]) -> None:
        """Note what an index holds, which must not be lost later either."""
        self.stored = stored
        for path in self.allowed:
            self.allowed[path] = {stored.get(path), self.contents.get(path)}

    def readable(self) -> dict[Path, bytes]:
        """Return the hashes of the images."""
        return {path: content for path, content in self.contents.items() if content is not None}

    def _add(self, count: int) -> None:
        for _ in range(count):
            self._made += 1
            self._write(self.folder / f"{self._made:06}.jpg", self._unused())

    def _unused(self) -> bytes:
        free = sorted(self._pool.keys() - set(self.contents.values()))
        return free[self._random.integers(len(free))]

    def _write(self, path: Path, content: bytes) -> None:
        shutil.copyfile(self._pool[content], path)
        self.contents[path] = content
        self._may_be(path, content)

    def _may_be(self, path: Path, content: bytes | None) -> None:
        self.allowed.setdefault(path, {None}).add(content)
        self._acknowledged = {told for told in self._acknowledged if told[0] != path}


def drawings(folder: Path, count: int) -> list[Path]:
    """Draw scenes of the example "shapes"."""
    random = np.random.default_rng(SEED)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        drawing.draw(scenes.draw_scene(random), random).resize(LARGE, Image.Resampling.NEAREST).save(path)
    return paths


def colours(folder: Path, count: int) -> list[Path]:
    """Make images that the stand-in for the model tells apart."""
    return [save_image(folder / f"{number}.png", (number % 256, number // 256, 7)) for number in range(count)]


class Stored(NamedTuple):
    """The content of an index, in the order of its paths.

    Attributes:
        paths: the files.
        contents: their hashes.
        places: the places of their vectors.
        vectors: `(files, projection)`.
    """

    paths: list[Path]
    contents: list[bytes]
    places: list[int]
    vectors: np.ndarray

    @classmethod
    def of(cls, index: Path, *, create: bool = False) -> Self:
        """Open an index as the command does, and search it, which warns if something cannot be used."""
        with ImageIndex(index, create=create) as opened:
            rows, places, vectors = opened._store.everything()
            vectors = np.array(vectors[places])
            for vector in vectors[:: max(1, len(vectors) // 5)]:
                (hit,) = opened.nearest(vector, top_k=1)
                assert hit.score == pytest.approx(1, abs=ROUNDING)
        return cls([Path(os.fsdecode(row.path)) for row in rows], [row.file for row in rows], places.tolist(), vectors)

    @property
    def by_path(self) -> dict[Path, bytes]:
        return dict(zip(self.paths, self.contents, strict=True))


def some_moment(random: np.random.Generator, number: int, seconds: dict[str | None, list[float]], whole: float) -> Kill:
    """Choose when to kill a run.

    Args:
        random: chooses.
        number: how many were killed. One of three is killed at any time, and the others in some step, since most steps
            take a few milliseconds; the first when all images are acknowledged.
        seconds: how long each step took in the runs so far.
        whole: the seconds that the run may take.
    """
    if number % 3 == 2:
        return Kill(random.uniform() * whole)
    step = str(random.choice([step for step in STEPS if step in seconds])) if number else "compacting"
    return Kill(random.uniform() * median(seconds[step]), step, int(random.integers(TIMES.get(step, 1))) + 1)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    with IndexCommand(tmp_path_factory.mktemp("command")) as command:
        yield command


@pytest.mark.parametrize(
    ("is_real", "make_images", "kills"),
    [(True, drawings, KILLS or 3), (False, colours, KILLS or 10)],
    ids=["the command", "a stand-in for the model"],
)
def test_nothing_acknowledged_is_lost_or_stored_twice(command, is_real, make_images, kills, tmp_path, record_property):
    random = np.random.default_rng(SEED)
    (tmp_path / "pool").mkdir()
    pool = make_images(tmp_path / "pool", 2 * min(MOST, 30 * kills))
    model = ROOT / "examples/shapes/checkpoint" if is_real else "colours"

    def index(folder: Path, out: Path, kill: Kill | None = None):
        return command(folder, "--out", out, "--model", model, "--backend", "torch", is_real=is_real, kill=kill)

    whole = index(tmp_path / "pool", tmp_path / "whole")
    assert (whole.code, len(whole.rows)) == (0, len(pool) + 1), whole.errors
    stored, seconds = Stored.of(tmp_path / "whole"), {step: [taken] for step, taken in whole.seconds.items()}
    expected = dict(zip(stored.contents, stored.vectors, strict=True))
    folder, out = ChangingFolder(tmp_path / "photos", pool, random), tmp_path / "index"
    found, steps, pending = Counter(), Counter(), len(folder)
    while steps.total() < kills:
        assert found["runs"] < 3 * kills + 20
        kill = some_moment(random, steps.total(), seconds, whole.seconds[None] * pending / len(pool))
        run = index(folder.folder, out, kill)
        found["runs"] += 1
        steps += Counter({run.step: run.code is None})
        for step, taken in run.seconds.items():
            seconds.setdefault(step, []).append(taken)
        told = [Path(row["image"]) for row in run.rows if "image" in row and "error" not in row]
        found["acknowledged"] += len(told)
        found["acknowledged twice"] += sum([not folder.acknowledge(path) for path in told])
        assert out.exists() or not told
        if out.exists():
            stored = Stored.of(out, create=not told)
            wanted = np.array([expected[content] for content in stored.contents]).reshape(stored.vectors.shape)
            np.testing.assert_allclose(stored.vectors, wanted, rtol=0, atol=ROUNDING)
            found["stored twice"] += len(stored.paths) - min(len(stored.by_path), len(set(stored.places)))
            found["lost"] += len(folder.lost(stored.by_path))
            assert (found["acknowledged twice"], found["stored twice"], found["lost"]) == (0, 0, 0)
            folder.seen(stored.by_path)
        folder.change()
        pending = len(folder.contents.items() - folder.stored.items())
    found["images at the end"] = len(folder.readable())
    figures = ", ".join(f"{name} {figure}" for name, figure in [*found.items(), *steps.most_common()])
    record_property("figure", f"{kills} kills: {figures}")
    run = index(folder.folder, out)
    assert run.code == (2 if None in folder.contents.values() else 0), run.errors
    assert index(folder.folder, tmp_path / "fresh").code == run.code
    stored, fresh = Stored.of(out), Stored.of(tmp_path / "fresh")
    assert stored.by_path == fresh.by_path == folder.readable()
    assert len(stored.paths) == len(fresh.paths) == len(set(stored.places)) == len(folder.readable())
    np.testing.assert_allclose(stored.vectors, fresh.vectors, rtol=0, atol=ROUNDING)
    assert found["acknowledged"] > 0
