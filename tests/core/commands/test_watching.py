"""A command whose framework dies by a signal ends with one line and exit code 3, and signals still reach it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from clip_core.cli import BROKEN_LIBRARY
from support.imports import ROOT
from support.messages import mentions
from support.programs import is_alive, wait_until
from support.search import save_image, stand_in

MODEL = ROOT / "examples" / "shapes" / "checkpoint"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, the command has one process")

BACKEND = """
import os, signal, time
from pathlib import Path
Path("pid").write_text(str(os.getpid()))
Path("pid").rename("started")
if "DEATH" in os.environ:
    os.kill(os.getpid(), int(os.environ["DEATH"]))
try:
    time.sleep(60)
finally:
    time.sleep(0.4)  # a second signal would not let it end
    Path("ended").touch()
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A function that starts a command with a backend that dies or waits when it is imported."""
    site = tmp_path / "site"
    (site / "fatal-0.1.dist-info").mkdir(parents=True)
    (site / "fatal-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fatal\nVersion: 0.1\n")
    (site / "fatal-0.1.dist-info" / "entry_points.txt").write_text("[clip_zoo.backends]\nfatal = fatal:backend\n")
    (site / "fatal.py").write_text(BACKEND)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{site}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    started = []
    # A process that a shell started with `&` ignores SIGINT, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(*words, folder=tmp_path, **variables):
        command = [sys.executable, "-m", "clip_core.cli", *map(str, words), "--backend", "fatal"]
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    signal.signal(signal.SIGINT, before)
    for process in started:
        process.kill()
        process.communicate()


def test_a_crash_of_the_framework_is_one_line_for_every_command(start, tmp_path):
    from clip_core.tasks.search import ImageIndex

    image = tmp_path / "pictures" / "red" / "red.png"
    save_image(image, (255, 0, 0))
    save_image(image.with_name("blue.png"), (0, 0, 255))
    for name in ("red.txt", "blue.txt"):
        image.with_name(name).write_text(name)
    with stand_in(), ImageIndex(tmp_path / "i", model=str(MODEL), create=True) as made:
        made.add([image.parent])
    commands = [
        ("classify", image, "--labels", "a", "b", "--model", MODEL),
        ("explain", image, "a cross", "--model", MODEL),
        ("index", image.parent, "--out", "new", "--model", MODEL),
        ("search", tmp_path / "i", "red"),
        ("evaluate", "zero-shot", "--data", image.parents[1], "--model", MODEL),
        ("train", "--data", image.parent, "--model", MODEL, "--checkpoint-dir", "run", "--batch-size", "2"),
        ("serve", "--model", MODEL, "--port", "0"),
    ]
    numbers = [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, *[signal.SIGSEGV] * (len(commands) - 3)]
    processes = [
        start(*words, folder=tmp_path / f"cwd{place}", DEATH=str(int(number)))
        for place, (words, number) in enumerate(zip(commands, numbers, strict=True))
    ]
    for process, words, number in zip(processes, commands, numbers, strict=True):
        out, err = process.communicate()
        assert process.returncode == BROKEN_LIBRARY, (words, err)
        (line,) = [line for line in err.splitlines() if "\r" not in line and "image" not in line]
        assert line.startswith("clip-zoo: "), (words, err)
        assert mentions(line, number.name), (words, err)
        assert out == "" or words[0] == "serve"


@pytest.mark.parametrize("to", [os.kill, os.killpg])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_process_or_its_group_ends_the_command_once(start, tmp_path, to, number):
    image = tmp_path / "red.png"
    save_image(image, (255, 0, 0))
    process = start("classify", image, "--labels", "a", "b", "--model", MODEL)
    wait_until((tmp_path / "started").exists)
    to(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (128 + number, "", "")
    assert (tmp_path / "ended").exists()


def test_a_killed_command_leaves_no_process_behind(start, tmp_path):
    image = tmp_path / "red.png"
    save_image(image, (255, 0, 0))
    process = start("classify", image, "--labels", "a", "b", "--model", MODEL)
    wait_until((tmp_path / "started").exists)
    pid = int((tmp_path / "started").read_text())
    assert pid != process.pid
    assert is_alive(pid)
    process.kill()
    wait_until(lambda: not is_alive(pid))
