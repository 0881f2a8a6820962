"""The program that reads the files of one group, and measures the time and the memory that each takes.

One line of JSON goes in for each file: the reader's name and the path. One comes out: the error's class and message,
the seconds of processor time, and the megabytes that the peak of memory rose.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

if sys.platform == "linux":
    import resource

_SPARE = 6 * 2**30  # bytes of address space that a file may take before the process gives up, and not the machine


def checkpoint(path: Path) -> None:
    """Open a checkpoint, and read every tensor."""
    from converters.checkpoint import open_checkpoint

    for entry in open_checkpoint(path).entries.values():
        entry.own()


def inspect(path: Path) -> None:
    """Run `clip-zoo inspect`, whose one line on stderr becomes the error's message."""
    _command("inspect", str(path))


def classify(path: Path) -> None:
    """Run `clip-zoo classify` on a folder's images."""
    _command("classify", str(path), "--labels", "a cat", "a dog", "--model", str(path))


def config(path: Path) -> None:
    """Read a configuration."""
    from clip_core import CLIPConfig

    CLIPConfig.from_pretrained(path)


def tokenizer(path: Path) -> None:
    """Read a tokenizer, of both classes, and encode a text."""
    from clip_core import CLIPTokenizer, CLIPTokenizerFast

    for cls in (CLIPTokenizer, CLIPTokenizerFast):
        cls.from_pretrained(path)("a photo of a cat", padding=True)


def processor(path: Path) -> None:
    """Read an image processor, and process a small image."""
    import numpy as np

    from clip_core import CLIPImageProcessor

    CLIPImageProcessor.from_pretrained(path)(np.zeros((4, 4, 3), np.uint8), return_tensors="np")


def image(path: Path) -> None:
    """Process an image file; a folder is a batch."""
    from clip_core import CLIPImageProcessor
    from clip_core.images.inputs import find_images

    CLIPImageProcessor()([str(file) for file in find_images(str(path))], return_tensors="np")


def pairs(path: Path) -> None:
    """Read all pairs of a dataset."""
    from clip_core.data import open_pairs
    from clip_core.data.pairs import Pair, StreamedPairs
    from clip_core.data.preparation import captions_of

    found = open_pairs(path)
    if isinstance(found, StreamedPairs):
        for number, size in enumerate(found.sizes):
            list(found.read(number, 0, size))
    else:
        for number in range(len(found)):
            pair = found[number]
            if isinstance(pair, Pair):
                with contextlib.suppress(ValueError):  # the loader leaves such a sample out
                    captions_of(pair)


def indexed(path: Path) -> None:
    """Read an image as an index does."""
    from clip_core import CLIPImageProcessor
    from clip_core.tasks.search.reading import FileReader

    FileReader(CLIPImageProcessor())(images=[path], return_tensors="np")


def source(path: Path) -> None:
    """Read all images of a source to embed."""
    from clip_core.tasks.embedding.sources import open_source

    found = open_source(str(path), image=None, columns=None, rows=1000)
    for piece in found.pieces():
        for picture in found.pictures(piece):
            found.read(picture)


def dataset(path: Path) -> None:
    """Read all rows of a dataset of embeddings."""
    from clip_core.tasks.embedding.dataset import EmbeddedDataset

    found = EmbeddedDataset(path)
    len(found)
    for rows, embeds in found.batches():
        assert len(rows) == len(embeds)


_ALL = (checkpoint, inspect, classify, config, tokenizer, processor, image, pairs, indexed, source, dataset)
READERS = {reader.__name__: reader for reader in _ALL}


class CommandError(Exception):
    """The message of a command that ended with exit code 2."""


def _command(*arguments: str) -> None:
    from clip_core.cli import main

    output, errors = io.StringIO(), io.StringIO()
    code = None
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            main(list(arguments))
    except SystemExit as end:
        code = end.code
    if code == 2:
        raise CommandError(errors.getvalue().removesuffix("\n"))
    assert code in {0, None}, (code, errors.getvalue())
    printed = output.getvalue() + errors.getvalue()
    assert all(character.isprintable() or character == "\n" for character in printed), ascii(printed)


def _memory(name: str) -> float:
    """Return a line of this process's status, in megabytes: VmHWM is the peak, VmRSS the present size."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def _shared_objects() -> str:
    """Return what a file must not change: the dtypes and the functions that all readers share."""
    import ml_dtypes
    import numpy as np

    from converters import tensors
    from converters.formats import torch_reading, torch_storages
    from converters.formats.torch_writing import STORAGE_DTYPES

    dtypes = [*STORAGE_DTYPES.values(), np.dtype(ml_dtypes.bfloat16), np.dtype("f4")]
    functions = [vars(module)[name] for module in (torch_reading, torch_storages, tensors) for name in vars(module)]
    own = [
        (one.__name__, sorted(vars(one))) for one in functions if str(getattr(one, "__module__", "")).startswith("conv")
    ]
    return repr([(dtype.str, dtype.itemsize, dtype.name) for dtype in dtypes] + own)


_UNTOUCHED = ""


def _measured(reader: str, path: Path) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts anew
    before, started = _memory("VmRSS"), time.process_time()
    found: dict[str, Any] = {"error": "", "message": ""}
    try:
        READERS[reader](path)
    except BaseException as error:  # noqa: BLE001  the catalogue states which error is right
        found = {"error": type(error).__name__, "message": str(error)}
    if (touched := _shared_objects()) != _UNTOUCHED:
        found = {"error": "Touched", "message": touched}
    return {**found, "seconds": time.process_time() - started, "megabytes": max(0.0, _memory("VmHWM") - before)}


def main() -> None:
    """Read each file that stdin names."""
    from clip_core import CLIPConfig, CLIPImageProcessor, CLIPTokenizer, CLIPTokenizerFast  # noqa: F401

    global _UNTOUCHED  # noqa: PLW0603  what it is before the first file
    warm_up()
    _UNTOUCHED = _shared_objects()
    limit = int(_memory("VmSize") * 2**20) + _SPARE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        reader, path = json.loads(line)
        print(json.dumps(_measured(reader, Path(path))), flush=True)  # noqa: T201


def warm_up() -> None:
    """Load what is loaded at the first use."""
    import h5py  # noqa: F401
    import msgpack  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import safetensors  # noqa: F401
    from PIL import Image

    import clip_core.data
    import clip_core.tasks.embedding.dataset
    import clip_core.tasks.embedding.sources  # noqa: F401

    Image.init()
    with contextlib.suppress(CommandError):
        inspect(Path("does-not-exist"))


if __name__ == "__main__":
    main()
