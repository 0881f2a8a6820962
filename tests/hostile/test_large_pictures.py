"""Large pictures take the memory of one decoded picture for each thread, however many a batch has."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from clip_core.images.pipeline import usable_threads
from support.checkpoints import save_checkpoint
from support.configs import tiny_config
from support.training_data import make_processor

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is measured by Linux's /proc")

COUNT, EDGE = 32, 1500
LARGEST = int(Image.MAX_IMAGE_PIXELS**0.5)  # the edge of a square just below the limit of a warning
BYTES = 4  # of a decoded pixel
OTHERWISE = 50 * 2**20  # bytes for the model, results, and memory that is not returned at once

PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path
from clip_core.cli import main
from clip_core.tasks.search.reading import FileReader
from clip_core.tasks.zero_shot import ZeroShotClassifier

folder = Path(sys.argv[1])
classifier = ZeroShotClassifier.from_pretrained(folder / "model", backend="torch")

def command(folder):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(["classify", str(folder), "--labels", "a", "b", "--model", f"{sys.argv[1]}/model", "--backend", "torch"])

def index(folder):
    reader = FileReader(classifier.processor)
    for file in folder.iterdir():
        reader([file], return_tensors="np")

WAYS = {
    "processor": lambda folder: classifier.processor(images=[str(file) for file in folder.iterdir()]),
    "encode_images": lambda folder: classifier.encode_images(list(folder.iterdir())),
    "clip-zoo classify": command,
    "index": index,
}

def memory(name):
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) * 1024

found = {}
for kind in ("small", "many", "one"):
    for way in WAYS if kind != "one" else ("processor", "index"):
        Path("/proc/self/clear_refs").write_text("5")
        if kind == "small":  # later, what an earlier way took is perhaps not returned yet
            before = memory("VmRSS")
        WAYS[way](folder / kind)
        found[f"{kind} {way}"] = memory("VmHWM") - before
print(json.dumps(found))
"""


def png(edge: int) -> bytes:
    """Return a black square in RGB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer, row = zlib.compressobj(1), bytes(1 + 3 * edge)
    rows = b"".join(packer.compress(row) for _ in range(edge)) + packer.flush()
    head = struct.pack(">2I5B", edge, edge, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def write(folder: Path, count: int, edge: int) -> None:
    folder.mkdir()
    content = png(edge)
    for number in range(count):
        (folder / f"{number}.png").write_bytes(content)


def test_a_batch_of_large_pictures_is_decoded_as_it_is_needed(run_program, tmp_path, record_property):
    processor = make_processor(tmp_path, tiny_config().vision_config.image_size)
    text = {"vocab_size": len(processor.tokenizer), "eos_token_id": processor.tokenizer.eos_token_id}
    save_checkpoint(tmp_path / "model", tiny_config(text, {"num_channels": 3}))
    processor.save_pretrained(tmp_path / "model")
    write(tmp_path / "small", 2, 9)
    write(tmp_path / "many", COUNT, EDGE)
    write(tmp_path / "one", 1, LARGEST)
    taken = json.loads(run_program(PROGRAM, tmp_path))

    def most(kind: str) -> int:
        return max(taken.items(), key=lambda item: item[1] if item[0].startswith(kind) else 0)[1]

    figures = f"{most('many') / 2**20:.0f} MB, and one of {LARGEST} by {LARGEST} {most('one') / 2**20:.0f} MB"
    record_property("figure", f"{COUNT} pictures of {EDGE} by {EDGE}: at most {figures}")
    one = BYTES * EDGE**2
    limit = (usable_threads() + 1) * one + OTHERWISE
    assert limit < COUNT * one / 2, "so many threads that the limit would say nothing"
    assert {name: size for name, size in taken.items() if name.startswith("many") and size > limit} == {}
    largest = BYTES * LARGEST**2
    assert {name: size for name, size in taken.items() if name.startswith("one") and size > 1.3 * largest} == {}
    assert most("one") > largest / 2  # it is decoded
