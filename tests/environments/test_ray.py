"""The engine "ray" on a local cluster, one of whose two workers is killed; `make test-ray` runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clip_core.cli import main
from clip_core.tasks.embedding import embed
from clip_core.tasks.search import OtherModelError
from support.checkpoints import save_checkpoint
from support.configs import tiny_config
from support.embedding import read, vectors, write_images, write_shard
from support.messages import mentions
from support.programs import environment, is_alive
from support.tolerances import ROUNDING
from support.training_data import make_processor

ray = pytest.importorskip(
    "ray", reason="Ray is not installed; `make test-ray` installs it in an environment of its own"
)

pytestmark = pytest.mark.filterwarnings("ignore")  # of another library
NUMBERS = range(200)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), path])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    os.environ["PYTHONPATH"] = path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(folder, tiny_config(text={"vocab_size": 600}, vision={"num_channels": 3}))
    make_processor(folder, 30).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(str(tmp_path_factory.mktemp("images")), NUMBERS)


@pytest.fixture(scope="module")
def expected(images, model, tmp_path_factory):
    """The dataset that this process makes."""
    out = str(tmp_path_factory.mktemp("local") / "out")
    embed(images, out, model=model, backend="torch", rows_per_part=8)
    return read(out)


def workers() -> set[int]:
    """Return the processes of workers that descend from this one."""
    parents, found = {}, set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().rpartition(")")
            command = (status.parent / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        process = int(name.partition(" ")[0])
        parents[process] = int(rest.split()[1])
        if command.startswith(b"ray::MapWorker"):
            found.add(process)

    def is_ours(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    return set(filter(is_ours, found))


def test_every_image_is_there_once_though_a_worker_is_killed_half_way(images, model, expected, tmp_path):
    parts, killed = [], []

    def kill_one(part: object) -> None:
        parts.append(part)
        if len(parts) == 5:
            running = workers()
            assert len(running) == 2
            killed.append(min(running))
            os.kill(killed[0], signal.SIGKILL)

    out = str(tmp_path / "out")
    summary = embed(
        images, out, engine="ray", workers=2, model=model, backend="torch", rows_per_part=8, on_part=kill_one
    )
    assert not is_alive(killed[0])
    assert (summary.parts, summary.errors) == (25, {})
    assert sorted(part.piece for part in parts) == [f"images-{number:06}" for number in range(25)]
    table = read(out)
    assert table["id"].to_pylist() == sorted(f"{number // 4}/{number:03}.png" for number in NUMBERS)
    assert table["sha256"].equals(expected["sha256"])
    np.testing.assert_allclose(vectors(table), vectors(expected), rtol=0, atol=ROUNDING)
    assert {path.suffix for path in Path(out).rglob("*") if path.is_file()} == {".json", ".parquet"}
    assert embed(images, out, engine="ray", workers=2, rows_per_part=8).earlier == 25


def test_a_local_job_goes_on_with_workers(images, model, expected, tmp_path):
    out = str(tmp_path / "out")

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(images, out, model=model, backend="torch", rows_per_part=8, on_part=interrupt)
    summary = embed(images, out, engine="ray", rows_per_part=8)
    assert (summary.earlier, summary.parts, summary.images) == (1, 24, 192)
    np.testing.assert_allclose(vectors(read(out)), vectors(expected), rtol=0, atol=ROUNDING)


def test_broken_images_and_damaged_shards_come_back_with_their_reasons(model, tmp_path):
    write_shard(str(tmp_path / "shards/a.tar"), [1, 2], [("x.png", b"broken")])
    (tmp_path / "shards/b.tar").write_bytes((tmp_path / "shards/a.tar").read_bytes()[:2000])
    parts = []
    summary = embed(
        tmp_path / "shards", tmp_path / "out", engine="ray", model=model, backend="torch", on_part=parts.append
    )
    assert (summary.images, summary.failed, list(summary.errors)) == (2, 1, ["b.tar"])
    assert mentions(summary.errors["b.tar"], tmp_path / "shards/b.tar")
    ((name, reason),) = next(part.reasons for part in parts if part.piece == "a.tar")
    assert name == "a.tar/x"
    assert mentions(reason, tmp_path / "shards/a.tar/x")


def test_errors_of_workers_are_those_of_this_process(images, model, tmp_path, tmp_path_factory, capsys):
    embed(images, tmp_path / "out", model=model, backend="torch")
    other = tmp_path_factory.mktemp("other")
    vision = {"num_channels": 3, "num_hidden_layers": 1}
    save_checkpoint(other, tiny_config(text={"vocab_size": 600}, vision=vision))
    make_processor(other, 30).save_pretrained(other)
    with pytest.raises(OtherModelError, match=str(other)):
        embed(images, tmp_path / "out", engine="ray", model=other, backend="torch")
    with pytest.raises(SystemExit) as end:
        main(["embed", images, "--out", str(tmp_path / "new"), "--engine", "ray", "--model", str(tmp_path / "missing")])
    captured = capsys.readouterr()
    assert (end.value.code, captured.out) == (2, "")
    assert mentions(captured.err, "--model", tmp_path / "missing")
    assert not (tmp_path / "new").exists()


def command_line(images, out, model, rows):
    words = ["embed", images, "--out", str(out), "--engine", "ray", "--workers", "1", "--model", model, "--json"]
    return [sys.executable, "-m", "clip_core.cli", *words, "--rows-per-part", str(rows)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_keeps_what_is_written(images, model, expected, tmp_path, number):
    command = command_line(images, tmp_path, model, rows=8)
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    )
    json.loads(running.stdout.readline())  # a part is written
    running.send_signal(number)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 128 + number
    assert "Traceback" not in err
    summary = embed(images, tmp_path, model=model, backend="torch", rows_per_part=8)
    assert 0 < summary.earlier < 25
    assert summary.earlier + summary.parts == 25
    np.testing.assert_allclose(vectors(read(str(tmp_path))), vectors(expected), rtol=0, atol=ROUNDING)


def test_the_command_prints_parts_and_a_summary(images, model, tmp_path):
    command = command_line(images, tmp_path / "out", model, rows=100)
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert "clip-zoo:" not in done.stderr
    *parts, summary = map(json.loads, done.stdout.splitlines())
    assert sorted(part["images"] for part in parts) == [100, 100]
    assert summary["images"] == 200
