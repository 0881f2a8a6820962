"""Long runs: thousands of calls of each model, tokenizer and processor, whose memory must stay flat.

    python benchmarks/soak.py [--calls 10000] [--results benchmarks/results]

Each subject runs in a process of its own; inputs change between calls. The program writes soak.md and soak.json, and
exits with 1 if the memory of one grows.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from machine import machine, resident, today, versions

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "examples" / "shapes" / "checkpoint"
SUBJECTS = ("torch", "tf", "flax", "CLIPTokenizer", "CLIPTokenizerFast", "CLIPProcessor")
_WARM_UP = 200  # calls; allocators and caches of a fixed size fill up
# Growth that is not flat: bytes and Python objects for each call. An image of the smallest model takes 12 kB.
MOST_BYTES, MOST_BLOCKS = 1000.0, 0.5
# Changes of the allocators and of caches of a fixed size, whatever the number of calls.
_BYTES_IN_ALL, _BLOCKS_IN_ALL = 4 * 2**20, 150


@dataclass(frozen=True)
class Growth:
    """The growth of a process's memory over many calls.

    Attributes:
        subject: the subject's name.
        calls: the number of calls after the warm-up.
        seconds: their time.
        megabytes: the resident memory after the warm-up.
        bytes_per_call: its growth.
        blocks_per_call: the growth in blocks of memory that Python has allocated.
    """

    subject: str
    calls: int
    seconds: float
    megabytes: float
    bytes_per_call: float
    blocks_per_call: float

    @property
    def is_flat(self) -> bool:
        """True if the memory did not grow."""
        grew = self.bytes_per_call > MOST_BYTES and self.bytes_per_call * self.calls > _BYTES_IN_ALL
        more = self.blocks_per_call > MOST_BLOCKS and self.blocks_per_call * self.calls > _BLOCKS_IN_ALL
        return not grew and not more


def subject(name: str) -> Callable[[int], Any]:
    """Return the function to call, which takes the number of the call."""
    import clip_core

    if name.startswith("CLIPTokenizer"):
        tokenizer = getattr(clip_core, name).from_pretrained(MODEL)
        return lambda number: tokenizer(_texts(number), padding=True, truncation=True, return_tensors="np")
    processor = clip_core.CLIPProcessor.from_pretrained(MODEL)
    if name == "CLIPProcessor":
        return lambda number: processor(text=_texts(number), images=_images(number), padding=True, return_tensors="np")
    inputs = processor(text=_texts(0), images=_images(0), padding="max_length", return_tensors="np")
    return _forward(name, {key: np.asarray(value) for key, value in inputs.items()})


def _forward(name: str, inputs: dict[str, np.ndarray]) -> Callable[[int], Any]:
    pixels = inputs.pop("pixel_values")
    if name == "torch":
        import torch

        import clip_torch

        model = clip_torch.CLIPModel.from_pretrained(MODEL)
        rest = {key: torch.from_numpy(value) for key, value in inputs.items()}

        def call(number: int) -> Any:
            with torch.inference_mode():
                return model(pixel_values=torch.from_numpy(pixels + number % 7), **rest).logits_per_image.numpy()

        return call
    if name == "tf":
        import clip_tf

        keras_model = clip_tf.CLIPModel.from_pretrained(MODEL)
        return lambda number: keras_model({"pixel_values": pixels + number % 7, **inputs}).logits_per_image.numpy()
    import clip_flax

    nnx_model = clip_flax.CLIPModel.from_pretrained(MODEL)
    return lambda number: np.asarray(nnx_model(pixel_values=pixels + number % 7, **inputs).logits_per_image)


def _texts(number: int) -> list[str]:
    return [f"a photo of {number} cats, number {number * 7919 % 10007:x}", "the caf\u00e9 " * (number % 9)]


def _images(number: int) -> list[np.ndarray]:
    random = np.random.default_rng(number)
    return [random.integers(0, 255, (40 + number % 30, 50, 3), np.uint8)]


def measure(name: str, call: Callable[[int], Any], calls: int, warm_up: int = _WARM_UP) -> Growth:
    """Return the growth of this process over some calls."""
    for number in range(warm_up):
        call(number)
    gc.collect()
    before, blocks, start = resident(), sys.getallocatedblocks(), time.perf_counter()
    for number in range(warm_up, warm_up + calls):
        call(number)
    seconds = time.perf_counter() - start
    gc.collect()
    grown, more = resident() - before, sys.getallocatedblocks() - blocks
    return Growth(name, calls, round(seconds, 1), round(before / 2**20, 1), grown / calls, more / calls)


def report(found: list[Growth]) -> str:
    """Return the table of soak.md."""
    here = machine()
    where = f"{today()}, {here['processor']}, {here['cores']} cores, Python {here['python']}."
    how = "Each row is a process that calls the shapes checkpoint, the models with one of seven sets of pixels."
    lines = [
        "# Long runs",
        "",
        f"{where} {how}",
        f"Growth is counted from the end of a warm-up of {_WARM_UP} calls.",
        "",
        "| subject | calls | seconds | MB at first | MB more at last | bytes a call | Python blocks a call |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {one.subject} | {one.calls:,} | {one.seconds:.0f} | {one.megabytes:.0f} | "
            f"{one.bytes_per_call * one.calls / 2**20:.1f} | {one.bytes_per_call:.0f} | {one.blocks_per_call:.3f} |"
            for one in found
        ),
        "",
        ", ".join(f"{name} {number}" for name, number in versions().items()) + ".",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure each subject in a process of its own, and write the report."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=10_000, help="calls of each subject")
    options.add_argument(
        "--results", type=Path, default=Path(__file__).with_name("results"), help="the folder to write"
    )
    options.add_argument("--one", choices=SUBJECTS, help="measure this subject alone, and print it as JSON")
    given = options.parse_args()
    if given.one:
        print(json.dumps(asdict(measure(given.one, subject(given.one), given.calls))))
        return 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads do not speed up so small a model
    found = []
    for name in SUBJECTS:
        command = [sys.executable, __file__, "--one", name, "--calls", str(given.calls)]
        done = subprocess.run(  # noqa: S603  this program
            command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=environment
        )
        found.append(Growth(**json.loads(done.stdout.splitlines()[-1])))
        print(found[-1], flush=True)
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "soak.md").write_text(report(found), encoding="utf-8")
    (given.results / "soak.json").write_text(
        json.dumps([asdict(one) for one in found], indent=2) + "\n", encoding="utf-8"
    )
    return 0 if all(one.is_flat for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
