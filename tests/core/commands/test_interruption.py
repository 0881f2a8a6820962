"""SIGINT and SIGTERM end every command at any moment: exit code 130 or 143, no traceback, nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from clip_core.commands.interruption import _Interruption, run_interruptibly
from clip_core.images.inputs import load_image
from clip_core.tasks.embedding import EmbeddedDataset, embed
from clip_core.tasks.embedding.manifest import MANIFEST
from clip_core.tasks.search import ImageIndex
from clip_core.tasks.search.store import DATABASE
from converters.checkpoint import open_checkpoint
from converters.verification.jobs import run_job
from support.checkpoints import content, save_checkpoint
from support.configs import tiny_config
from support.imports import ROOT
from support.training_data import make_processor, write_folder

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
OURS = tuple(str(ROOT / package) + os.sep for package in ("clip_core", "converters", "clip_torch"))
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to end a process with")


@pytest.fixture(autouse=True)
def heeded():
    """A suite in the background hands on that SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(1)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_ends_a_program_by_its_finally_blocks(number):
    ended = []

    def program():
        try:
            send(number)
        finally:
            ended.append("well")

    before = signal.getsignal(number)
    assert run_interruptibly(program, until_exit=False) == CODES[number]
    assert ended == ["well"]
    assert signal.getsignal(number) is before


def test_other_ends_keep_their_codes():
    assert run_interruptibly(lambda: 1, until_exit=False) == 1
    assert run_interruptibly(lambda: sys.exit(3), until_exit=False) == 3
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 / 0, until_exit=False)


def test_an_error_that_a_library_makes_of_the_signal_does_not_count():
    def program():
        try:
            send(signal.SIGTERM)
        except BaseException as error:
            raise ImportError("a library failed to load") from error

    assert run_interruptibly(program, until_exit=False) == 143


def test_a_signal_in_a_destructor_is_not_lost(capsys):
    class Closing:
        def __del__(self):
            send(signal.SIGTERM)

    def program():
        closing = Closing()
        del closing
        time.sleep(20)

    start = time.monotonic()
    assert run_interruptibly(program, until_exit=False) == 143
    assert time.monotonic() - start < 15
    assert capsys.readouterr().err == ""


def test_a_signal_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert run_interruptibly(lambda: os.kill(os.getpid(), signal.SIGINT), until_exit=False) is None


@pytest.mark.parametrize("number", CODES)
def test_a_second_signal_and_one_while_python_ends_do_not_wait(number):
    program = f"""
import atexit, os, signal, sys, time
from clip_core.commands.interruption import run_interruptibly
signal.signal(signal.SIGINT, signal.default_int_handler)
def slow():
    os.kill(os.getpid(), {number})
    time.sleep(60)
def program():
    try:
        slow()
    finally:
        if "twice" in sys.argv:
            slow()
atexit.register(slow)
sys.exit(run_interruptibly(program if "twice" in sys.argv else (lambda: 0), until_exit=True))
"""
    for how in ("twice", "at exit"):
        ran = subprocess.run(
            [sys.executable, "-c", program, how], capture_output=True, text=True, check=False, cwd=ROOT, timeout=50
        )
        assert (ran.returncode, ran.stderr) == (CODES[number], "")


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_the_libraries_of_the_command_load(number):
    """The first import of the command's table, which takes longest of what happens before the command runs."""
    program = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "cyclopts":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder())
from clip_core.cli import main
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, "formats"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (CODES[number], "", "")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    processor = make_processor(folder, tiny_config().vision_config.image_size)
    text = {"vocab_size": len(processor.tokenizer), "eos_token_id": processor.tokenizer.eos_token_id}
    for name, size in (("model", 24), ("other", 24)):
        save_checkpoint(folder / name, tiny_config(text, {"num_channels": 3}, projection_dim=size))
        processor.save_pretrained(folder / name)
    write_folder(folder / "pairs", 8)
    for label in ("cat", "dog"):
        write_folder(folder / "labelled" / label, 4)
    with ImageIndex(folder / "index", model=folder / "model", backend="torch", create=True) as index:
        index.add([folder / "pairs"])
    embed(folder / "pairs", folder / "dataset", model=folder / "model", backend="torch", rows_per_part=2)
    return folder


def at_line(line, number):
    """Send a signal at a line of our own code, counted from the start of a command; None only counts."""
    seen = [0]

    def trace(frame, event, _):
        if event == "call" and not frame.f_code.co_filename.startswith(OURS):
            return None
        handler = signal.getsignal(signal.SIGINT)
        if not isinstance(handler, _Interruption) or handler.is_over:  # before the command and after it
            return trace
        seen[0] += 1
        if seen[0] == line:
            os.kill(os.getpid(), number)
        return trace

    sys.settrace(trace)
    return seen


MODEL = ("--model", "model", "--backend", "torch")
COMMANDS = {
    "formats": (["formats"], 4),
    "inspect": (["inspect", "model"], 8),
    "diff": (["diff", "model", "other"], 8),
    "convert": (["convert", "model", "new", "--to", "safetensors", "--max-shard-size", "30KB"], 12),
    "convert over another": (["convert", "model", "target", "--to", "safetensors", "--overwrite"], 12),
    "classify": (["classify", "pairs", "--labels", "a", "b", *MODEL], 3),
    "evaluate zero-shot": (["evaluate", "zero-shot", "--data", "labelled", *MODEL], 3),
    "evaluate retrieval": (["evaluate", "retrieval", "--data", "pairs", *MODEL], 3),
    "evaluate probe": (["evaluate", "probe", "--data", "labelled", "--test-share", "0.5", *MODEL], 3),
    "verify": (["verify", "model", "--backend", "reference", "torch", "--report", "drawn/report.html"], 3),
    "index": (["index", "pairs", "labelled", "--out", "indexed", "--batch-size", "2", *MODEL], 6),
    "index from a dataset": (["index", "--from", "dataset", "--out", "indexed", "--batch-size", "2"], 6),
    "embed": (["embed", "pairs", "--out", "embedded", "--rows-per-part", "2", *MODEL], 6),
    "search": (["search", "index", "a cat", "--html", "drawn/page.html", "--backend", "torch"], 3),
    "duplicates": (["duplicates", "index"], 3),
    "explain": (
        [
            *("explain", "labelled/cat", "labelled/dog", "--texts", "a", "--output-dir", "drawn", *MODEL),
        ],
        3,
    ),
    "serve": (["serve", "--port", "0", *MODEL], 3),  # up to the first request
    "train": (
        [
            *("train", "--data", "pairs", "--checkpoint-dir", "run", *MODEL),
            *("--workers", "1", "--batch-size", "4", "--save-every", "1"),
        ],
        3,
    ),
}


def check_files(folder, target_before):
    """Check that each file that a command wrote is whole."""
    for page in (folder / "drawn").glob("*.html"):
        assert page.read_text(encoding="utf-8").endswith("</html>\n")
    for drawing in (folder / "drawn").glob("*.png"):
        load_image(drawing)
    if (folder / "new").exists():
        assert open_checkpoint(folder / "new").files
    found = content(folder / "target")
    assert found == target_before or open_checkpoint(folder / "target").files[0].name == "model.safetensors"
    for step in (folder / "run").glob("step-*"):
        assert open_checkpoint(step)
        assert (step / "trainer_state.json").exists()
    if (folder / "indexed" / DATABASE).exists():
        with ImageIndex(folder / "indexed") as index:
            # An image may be in a group of equal ones and in one of similar ones.
            named = {image for group in index.duplicates(threshold=0.1) for image in group.images}
            assert len(named) <= len(index)
    if (folder / "embedded" / MANIFEST).exists():
        dataset = EmbeddedDataset(folder / "embedded")
        assert sum(len(rows) for rows, _ in dataset.batches()) == len(dataset)


# A signal between opening a file and the `with` that closes it leaves that to the end of the process.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_at_any_moment(run, files, tmp_path, monkeypatch, name):
    words, moments = COMMANDS[name]
    for each in files.iterdir():
        (tmp_path / each.name).symlink_to(each)
    save_checkpoint(tmp_path / "target", tiny_config(projection_dim=8), max_shard_size="30KB")
    before = content(tmp_path / "target")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    # Verify's process for each framework would import it in every run; train and evaluate wait for such processes too.
    monkeypatch.setattr("converters.verification.verify.run_job_alone", run_job)
    monkeypatch.setattr("converters.verification.jobs.variants", lambda *_, **__: {})

    def ended(line, number):
        streams = sys.stdout, sys.stderr
        try:
            seen = at_line(line, number)
            code, _, err = run(*words)
        finally:
            sys.settrace(None)
            sys.stdout, sys.stderr = streams  # the signal may come just before the command restores them
        return code, err, seen[0]

    def set_aside(number):
        for made in ("new", "run", "indexed", "embedded", "drawn"):
            if (tmp_path / made).exists():
                (tmp_path / made).rename(tmp_path / f"earlier-{made}-{number}")

    for warm in range(2):  # the first time, more lines run
        code, err, lines = ended(None, None)
        assert code in {0, 1}, err
        set_aside(f"warm-{warm}")
    for moment, line in enumerate(np.linspace(1, lines * 0.95, moments).astype(int)):
        set_aside(moment)
        number = list(CODES)[moment % 2]
        code, err, _ = ended(line, number)
        assert code == CODES[number], (line, err)
        assert "Traceback" not in err, (line, err)
        assert err.count("\n") <= 1, (line, err)
        assert not list(temporary.glob("clip-zoo*")), line
        check_files(tmp_path, before)
        assert not list(tmp_path.rglob(".saving-*")), line
