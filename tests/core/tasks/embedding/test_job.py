"""Datasets of embeddings: their content, and that an interrupted or a repeated job computes nothing twice."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import fsspec
import numpy as np
import pytest

from clip_core.tasks.embedding import EmbeddedDataset, embed, embedder
from clip_core.tasks.search import OtherModelError
from clip_core.tasks.zero_shot import ZeroShotClassifier
from support import embedding as support
from support.embedding import embeddings, read, vectors, write, write_images, write_shard, write_table
from support.limits import largest_file
from support.messages import naming
from support.programs import environment
from support.search import OTHER, stand_in
from support.tolerances import ROUNDING
from support.training_data import picture_bytes

NUMBERS = range(10)


@pytest.fixture(autouse=True)
def colours():
    with stand_in():
        yield


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    """A folder, and a URL of object storage."""
    if request.param == "disk":
        yield str(tmp_path)
        return
    yield "memory://bucket"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def make_source(place: str, kind: str) -> str:
    if kind == "images":
        return write_images(f"{place}/images", NUMBERS)
    if kind == "shards":
        for shard in range(3):
            write_shard(f"{place}/shards/{shard}.tar", [number for number in NUMBERS if number % 3 == shard])
        return f"{place}/shards"
    images = {"image": [picture_bytes(number) for number in NUMBERS]}
    if kind == "paths":
        write_images(f"{place}/table", NUMBERS)
        images = {"path": [f"{number // 4}/{number:03}.png" for number in NUMBERS]}
    return write_table(
        f"{place}/table/a.parquet", images | {"id": list(NUMBERS), "text": [f"cat {n}" for n in NUMBERS]}
    )


def files_of(place: str) -> list[str]:
    files, root = fsspec.core.url_to_fs(place)
    return sorted(files.find(root))


@pytest.mark.parametrize("kind", ["images", "shards", "bytes", "paths"])
def test_every_image_is_embedded_once_with_what_the_source_has(place, kind):
    source, out = make_source(place, kind), f"{place}/out"
    summary = embed(source, out, model="colours", rows_per_part=4, batch_size=3)
    assert (summary.images, summary.failed, summary.parts, summary.errors) == (10, 0, 3, {})
    table = read(out)
    number = [int(Path(name).name) for name in table["id"].to_pylist()] if kind == "shards" else list(NUMBERS)
    if kind == "bytes":
        assert table["id"].to_pylist() == [f"a.parquet#{n}" for n in NUMBERS]
    if kind == "paths":
        assert table["path"].to_pylist()[9].endswith("table/2/009.png")
        assert table["source_path"].to_pylist()[9] == "2/009.png"
    if kind in {"bytes", "paths"}:
        assert table["source_id"].to_pylist() == list(NUMBERS)
        assert table["text"].to_pylist()[3] == "cat 3"
    if kind == "shards":
        assert table["txt"].to_pylist() == [f"cat {n}" for n in number]
        assert sorted(number) == list(NUMBERS)
    if kind == "images":
        assert table["id"].to_pylist() == [f"{n // 4}/{n:03}.png" for n in NUMBERS]
    np.testing.assert_allclose(vectors(table), embeddings(number), rtol=0, atol=ROUNDING)
    assert table["width"].to_pylist() == [12] * 10
    assert table["size"].to_pylist() == [len(picture_bytes(n)) for n in number]
    names = files_of(out)
    again = embed(source, out, rows_per_part=4)
    assert (again.parts, again.earlier) == (0, 3)
    assert files_of(out) == names


def test_the_manifest_says_how_the_dataset_was_made(tmp_path):
    source = make_source(str(tmp_path), "images")
    embed(source, tmp_path / "out", model="colours", embedding_dtype="float16")
    facts = json.loads((tmp_path / "out/clip-zoo.json").read_text())
    wanted = {"model": "colours", "source": source, "kind": "images", "embedding_dtype": "float16", "dim": 3}
    assert wanted.items() <= facts.items()
    assert {"fingerprint", "preprocessing", "versions"} <= facts.keys()
    stored = vectors(read(str(tmp_path / "out")))
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, embeddings(NUMBERS).astype(np.float16))


def test_images_that_cannot_be_read_are_in_a_table_of_their_own(tmp_path):
    source = make_source(str(tmp_path), "images")
    (tmp_path / "images/0/broken.jpg").write_bytes(b"broken")
    (tmp_path / "images/0/cut.png").write_bytes(picture_bytes(1)[:60])
    parts = []
    summary = embed(source, tmp_path / "out", model="colours", on_part=parts.append)
    assert (summary.images, summary.failed) == (10, 2)
    failed = read(str(tmp_path / "out"), "failed")
    assert failed["id"].to_pylist() == ["0/broken.jpg", "0/cut.png"]
    assert all(str(tmp_path / "images/0") in reason for reason in failed["reason"].to_pylist())
    assert parts[0].reasons == tuple(zip(failed["id"].to_pylist(), failed["reason"].to_pylist(), strict=True))
    assert len(read(str(tmp_path / "out"))) == 10


def test_a_source_of_broken_images_alone_is_done_too(tmp_path):
    write(str(tmp_path / "images/a.png"), b"broken")
    assert embed(tmp_path / "images", tmp_path / "out", model="colours").failed == 1
    assert embed(tmp_path / "images", tmp_path / "out").earlier == 1
    assert len(EmbeddedDataset(tmp_path / "out")) == 0


def test_a_damaged_shard_is_told_and_tried_again(tmp_path):
    source = make_source(str(tmp_path), "shards")
    whole = (tmp_path / "shards/1.tar").read_bytes()
    (tmp_path / "shards/1.tar").write_bytes(whole[:3000])
    summary = embed(source, tmp_path / "out", model="colours")
    assert list(summary.errors) == ["1.tar"]
    assert str(tmp_path / "shards/1.tar") in summary.errors["1.tar"]
    assert len(read(str(tmp_path / "out"))) == summary.images == 7
    (tmp_path / "shards/1.tar").write_bytes(whole)
    assert embed(source, tmp_path / "out").images == 3
    assert len(read(str(tmp_path / "out"))) == 10


def test_shards_that_are_new_are_added_and_changed_ones_refused(tmp_path):
    source = make_source(str(tmp_path), "shards")
    embed(source, tmp_path / "out", model="colours")
    write_shard(str(tmp_path / "shards/3.tar"), [20, 21])
    assert embed(source, tmp_path / "out").images == 2
    before = files_of(str(tmp_path / "out"))
    write_shard(str(tmp_path / "shards/3.tar"), range(20, 40))
    with pytest.raises(ValueError, match=naming("3.tar")):
        embed(source, tmp_path / "out")
    assert files_of(str(tmp_path / "out")) == before


@pytest.mark.parametrize(
    ("named", "options"),
    [
        ("rows_per_part", {"rows_per_part": 5}),
        ("embedding_dtype", {"embedding_dtype": "float16"}),
        (OTHER, {"model": OTHER}),
    ],
)
def test_another_job_leaves_the_dataset_as_it_was(tmp_path, named, options):
    source = make_source(str(tmp_path), "images")
    given = {"model": "colours", "rows_per_part": 4}
    embed(source, tmp_path / "out", **given)
    before = {name: Path(name).read_bytes() for name in files_of(str(tmp_path / "out"))}
    with pytest.raises(OtherModelError if named is OTHER else ValueError, match=naming(named)):
        embed(source, tmp_path / "out", **given | options)
    with pytest.raises(ValueError, match=naming(tmp_path / "out")):
        embed(write_images(str(tmp_path / "others"), [1]), tmp_path / "out", **given)
    assert {name: Path(name).read_bytes() for name in files_of(str(tmp_path / "out"))} == before


def test_two_jobs_do_not_write_into_one_dataset(place):
    source = make_source(place, "images")

    def another(_: object) -> None:
        with pytest.raises(BlockingIOError, match=str(os.getpid())):
            embed(source, f"{place}/out", model="colours")

    assert embed(source, f"{place}/out", model="colours", on_part=another).images == 10
    assert embed(source, f"{place}/out", model="colours").images == 0


def test_the_note_of_a_remote_job_that_was_killed_is_ignored_on_its_machine():
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    note = {"task": "an embedding", "process": ended.pid, "host": os.uname().nodename}
    write("memory://killed/out/running.json", json.dumps(note).encode())
    source = write_images("memory://killed/images", [1])
    assert embed(source, "memory://killed/out", model="colours").images == 1
    note["host"] = "elsewhere"
    write("memory://killed/out/running.json", json.dumps(note).encode())
    with pytest.raises(BlockingIOError, match=naming("elsewhere", "memory:///killed/out/running.json")):
        embed(source, "memory://killed/out")
    fsspec.filesystem("memory").rm("/killed", recursive=True)


def test_a_failure_in_the_middle_leaves_whole_parts_alone(place):
    source, out = make_source(place, "shards"), f"{place}/out"
    encode = support.Colours.encode_images
    calls = []

    def fail_later(self, pixel_values):
        calls.append(len(pixel_values))
        if sum(calls) > 8:
            raise RuntimeError
        return encode(self, pixel_values)

    with mock.patch.object(support.Colours, "encode_images", fail_later), pytest.raises(RuntimeError):
        embed(source, out, model="colours", batch_size=2)
    # One folder holds whole parts alone.
    assert len(read(out)) in {4, 7}
    assert all(name.endswith((".parquet", "clip-zoo.json")) for name in files_of(out))
    embed(source, out)
    assert len(read(out)) == 10
    assert len(set(read(out)["id"].to_pylist())) == 10


@pytest.mark.parametrize("flush", [2, 1000])  # rows: written in the middle of the part, or at its end
def test_a_full_disk_is_told_with_the_part(tmp_path, flush):
    source, out = make_source(str(tmp_path), "images"), tmp_path / "out"
    embed(source, out, model="colours", rows_per_part=4)
    (part, *_) = (out / "embeddings").iterdir()
    part.unlink()
    with (
        mock.patch("clip_core.tasks.embedding.parts._FLUSH", flush),
        largest_file(3000),
        pytest.raises(OSError, match=naming(part, os.strerror(errno.EFBIG))),
    ):
        embed(source, out, rows_per_part=4, batch_size=2)
    assert not part.exists()
    assert all(name.endswith((".parquet", "clip-zoo.json")) for name in files_of(str(out)))


def test_killed_at_any_moment_every_image_is_there_once(tmp_path):
    random = np.random.default_rng(0)
    source = write_images(str(tmp_path / "images"), range(120))
    program = [sys.executable, support.__file__, source, str(tmp_path / "out")]
    told: list[str] = []
    for _ in range(3):
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment()) as process:
            for _, line in zip(range(random.integers(2, 8)), process.stdout, strict=False):
                told.append(line.strip())
            time.sleep(random.exponential(0.005))  # so that the moment does not depend on what is printed
            process.kill()
            told += [line.strip() for line in process.stdout if line.endswith("\n")]
    parts = [name for name in told if name.startswith("images")]
    assert len(parts) == len(set(parts))
    assert len(parts) >= 3
    summary = embed(source, tmp_path / "out", rows_per_part=4)
    assert summary.earlier >= len(parts)
    table = read(str(tmp_path / "out"))
    ids = {f"{number // 4}/{number:03}.png": number for number in range(120)}
    assert table["id"].to_pylist() == sorted(ids)
    np.testing.assert_allclose(vectors(table), embeddings(ids[name] for name in sorted(ids)), rtol=0, atol=ROUNDING)
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} == {".json", ".parquet"}


def test_a_model_is_loaded_only_if_there_is_something_to_embed(tmp_path):
    source = make_source(str(tmp_path), "images")
    embed(source, tmp_path / "out", model="colours")
    with mock.patch.object(ZeroShotClassifier, "from_pretrained", side_effect=AssertionError):
        assert embed(source, tmp_path / "out").earlier == 1
        assert embed(source, tmp_path / "out", model="colours").earlier == 1
        with pytest.raises(AssertionError):
            embed(source, tmp_path / "out", model=OTHER)


def test_a_part_of_another_process_is_not_written_again(tmp_path):
    source = make_source(str(tmp_path), "images")
    embed(source, tmp_path / "out", model="colours", rows_per_part=4)
    with (
        mock.patch("clip_core.tasks.embedding.job.pending_pieces", lambda _, __, pieces: pieces),
        mock.patch.object(embedder, "encode_image_batches", side_effect=AssertionError),
    ):
        assert embed(source, tmp_path / "out", rows_per_part=4).images == 0


@pytest.mark.parametrize(
    ("named", "options"),
    [
        ("engine", {"engine": "spark"}),
        ("workers", {"workers": 2}),
        ("workers", {"engine": "ray", "workers": 0}),
        ("embedding_dtype", {"embedding_dtype": "int8"}),
        ("rows_per_part", {"rows_per_part": 0}),
        ("batch_size", {"batch_size": 0}),
        ("num_threads", {"num_threads": 0}),
        ("image_column", {"image_column": "img"}),
        ("columns", {"columns": ["text"]}),
    ],
)
def test_bad_options_are_named_before_anything_is_written(tmp_path, named, options):
    source = make_source(str(tmp_path), "images")
    with pytest.raises(ValueError, match=naming(named)):
        embed(source, tmp_path / "out", model="colours", **options)
    assert not (tmp_path / "out").exists()


def test_one_column_in_place_of_several_is_refused(tmp_path):
    with pytest.raises(TypeError, match=naming("columns")):
        embed(make_source(str(tmp_path), "bytes"), tmp_path / "out", model="colours", columns="text")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_files_and_a_missing_model_are_refused(tmp_path):
    source = make_source(str(tmp_path), "images")
    write(str(tmp_path / "full/notes.txt"), b"mine")
    with pytest.raises(FileExistsError, match=naming(tmp_path / "full")):
        embed(source, tmp_path / "full", model="colours")
    with (
        mock.patch.object(ZeroShotClassifier, "from_pretrained", side_effect=FileNotFoundError),
        pytest.raises(FileNotFoundError),
    ):
        embed(source, tmp_path / "out", model="missing")
    assert not (tmp_path / "out").exists()
