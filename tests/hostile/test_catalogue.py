"""Every hostile file of the catalogue: one clear line of our own, and little time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hostile.catalogue import LONGEST_MESSAGE, SECONDS, Hostile, catalogue

from support.programs import environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is measured by Linux's /proc")

_PATIENCE = 60.0  # seconds of wall time for one file, on a busy machine


def answers(files: list[Hostile], folder: Path) -> list[dict[str, Any]]:
    """Return the measurements of one process for each file; the rest is missing if it crashed or hung."""
    program = [sys.executable, str(Path(__file__).parent / "reading.py")]
    found = []
    process = subprocess.Popen(
        program, env=environment(HF_HUB_OFFLINE="1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        for number, file in enumerate(files):
            place = folder / f"{number}"
            place.mkdir()
            process.stdin.write(json.dumps([file.read, str(file.make(place))]) + "\n")
            process.stdin.flush()
            watch = threading.Timer(_PATIENCE, process.kill)
            watch.start()
            line = process.stdout.readline()
            watch.cancel()
            found.append(json.loads(line) if line else {"crash": True})
            if not line:
                break
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
    return found


def faults(file: Hostile, answer: dict[str, Any]) -> list[str]:
    """Return the faults of the answer to a file, in words."""
    if "crash" in answer:
        return ["the process crashed or hung"]
    message = answer["message"]
    found = []
    if answer["error"] != file.error:
        found.append(f"{answer['error'] or 'no error'}, not {file.error or 'read'}: {ascii(message)[:500]}")
    elif not message.isprintable() or len(message) > LONGEST_MESSAGE or (file.error and not message):
        found.append(f"not one clear line: {ascii(message)[:500]}")
    if answer["seconds"] > SECONDS:
        found.append(f"{answer['seconds']:.1f} s")
    if answer["megabytes"] > file.megabytes:
        found.append(f"{answer['megabytes']:.0f} MB")
    return found


@pytest.mark.parametrize("group", catalogue())
def test_every_hostile_file_gets_one_clear_line_in_little_time_and_memory(group, tmp_path, record_property):
    files = catalogue()[group]
    measured = answers(files, tmp_path)
    wrong = {file.name: found for file, answer in zip(files, measured, strict=False) if (found := faults(file, answer))}
    seconds = max((answer.get("seconds", 0) for answer in measured), default=0)
    megabytes = max((answer.get("megabytes", 0) for answer in measured), default=0)
    record_property("figure", f"hostile files, {group}: {len(files)}, at most {seconds:.2f} s and {megabytes:.0f} MB")
    assert not wrong, "\n".join(f"{name}: {'; '.join(found)}" for name, found in wrong.items())
    assert len(measured) == len(files)
