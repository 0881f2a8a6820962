"""Row 7: converting a 605 MB ViT-B/32, beside transformers 4.57.6: time and peak memory, each in a fresh process.

The results are compared first. A sharded checkpoint with four times the layers then shows that memory does not grow
with size. This temporarily needs 8 GB of disk. Weights are random. Peaks include pages of mapped files, and are also
given as a fraction of the checkpoint's size.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from checkpoints import TINY, write_random
from fresh import in_turns, peak_memory, run, spread
from goals import Goal, at_least, at_most
from plots import bars
from report import Report, Table

from clip_core.configuration import CLIPConfig
from converters.checkpoint import open_checkpoint
from converters.conversion import convert
from converters.inspection.diff import compare_tensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from settings import Settings

TARGETS = ("flax", "tf", "torch")
LIBRARIES = ("ours", "peers")
REPEATS = 3
COLUMNS = [
    "conversion",
    "ours, s",
    "transformers, s",
    "times as fast",
    "ours, peak MB (relative to size)",
    "transformers, peak MB",
]


@dataclass
class Done:
    """The runs of one conversion by one library: seconds and peak bytes of each."""

    runs: list[tuple[float, int]]

    @property
    def seconds(self) -> float:
        """The median seconds."""
        return statistics.median(seconds for seconds, _ in self.runs)

    @property
    def spread(self) -> float:
        """The spread of the seconds."""
        return spread([seconds for seconds, _ in self.runs])

    @property
    def peak(self) -> int:
        """The maximum peak in bytes."""
        return max(peak for _, peak in self.runs)


@dataclass
class Converted:
    """The result of one conversion, without a peer if only its memory matters."""

    to: str
    size: int
    ours: Done
    peer: Done | None = None

    @property
    def times_as_fast(self) -> float:
        """The speedup over the peer, which must be present."""
        assert self.peer is not None
        return self.peer.seconds / self.ours.seconds

    def record(self) -> dict[str, Any]:
        """Return the values for the JSON file."""
        theirs = self.peer.runs if self.peer else None
        return {"to": self.to, "bytes": self.size, "ours": self.ours.runs, "transformers": theirs}

    def cells(self) -> list[str]:
        """Return a Markdown table row."""
        what = "" if self.peer else " in shards"
        return [
            f"safetensors to {self.to}, {self.size / 1e6:.0f} MB{what}",
            self._seconds(self.ours),
            self._seconds(self.peer),
            f"{self.times_as_fast:.1f}" if self.peer else "",
            self._peak(self.ours),
            self._peak(self.peer),
        ]

    def _seconds(self, done: Done | None) -> str:
        if done is None or len(done.runs) < 2:
            return f"{done.seconds:.2f}" if done else ""
        return f"{done.seconds:.2f} (±{done.spread:.0%})"

    def _peak(self, done: Done | None) -> str:
        return f"{done.peak / 1e6:.0f} ({done.peak / self.size:.2f})" if done else ""


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check converts a tiny model."""
    fields: dict[str, Any] = TINY if settings.quick else {}
    layers = {tower: fields.get(tower, {}) | {"num_hidden_layers": 48} for tower in ("text_config", "vision_config")}
    found = compared(settings.scratch, CLIPConfig(**fields), 1 if settings.quick else REPEATS)
    large = in_shards(settings.scratch, CLIPConfig(**fields | layers), "2MB" if settings.quick else "500MB")
    written = Report("conversion", "Converting checkpoints", __doc__ or "", quick=settings.quick)
    written.tables = [Table(COLUMNS, [one.cells() for one in (*found, *large)])]
    written.measurements = [one.record() for one in (*found, *large)]
    written.goals = goals(found, large)
    written.plot = partial(draw, written.measurements)
    return written


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot how many times as fast as the peer each conversion is."""
    values = {}
    for one in measurements:
        if one["transformers"] is not None:
            values[f"to {one['to']}"] = Done(one["transformers"]).seconds / Done(one["ours"]).seconds
    bars(path, title="Converting", across="times as fast as transformers", values=values, line=5.0)


def goals(found: list[Converted], large: list[Converted]) -> list[Goal]:
    """Return the targets: five times the speed, low memory, and no more memory for a larger sharded checkpoint."""
    faster = [
        at_least(f"To {one.to}: times as fast as transformers", one.times_as_fast, 5.0)
        for one in found
        if one.to != "torch"
    ]
    lean = [at_most(f"To {one.to}: peak memory, relative to the size", one.ours.peak / one.size, 1.5) for one in found]
    flat = [
        at_most(
            f"To {big.to}, {big.size / one.size:.1f} times as large: peak memory, relative to the smaller",
            big.ours.peak / one.ours.peak,
            1.1,
        )
        for one, big in zip(found, large, strict=True)
    ]
    return [*faster, *lean, *flat]


def ours(source: str, target: str, to: str) -> Callable[[], object]:
    """Return our conversion."""
    import h5py  # noqa: F401  imported by convert on first use; no library's imports are timed

    return lambda: convert(source, target, to)


def peers(source: str, target: str, to: str) -> Callable[[], object]:
    """Return the transformers equivalent: load into the other framework's class, and save."""
    import torch  # noqa: F401  must precede TensorFlow, which crashes otherwise
    import transformers
    from transformers import CLIPModel  # noqa: F401

    name, options = {"flax": ("Flax", {"from_pt": True}), "tf": ("TF", {"from_pt": True}), "torch": ("", {})}[to]
    cls = getattr(transformers, f"{name}CLIPModel")
    saving = {} if to == "flax" else {"safe_serialization": False}
    return lambda: cls.from_pretrained(source, **options).save_pretrained(target, **saving)


def run_alone(library: str, source: Path, folder: Path, to: str) -> tuple[float, int]:
    """Return seconds and peak bytes of one conversion in a fresh process; imports are not timed."""
    target = folder / f"{library}-{to}"
    shutil.rmtree(target, ignore_errors=True)
    output = run(__file__, library, str(source), str(target), to).output
    seconds, peak = json.loads(output.splitlines()[-1])
    return seconds, peak


def compared(folder: Path, config: CLIPConfig, repeats: int = REPEATS) -> list[Converted]:
    """Convert to each target beside the peer, and compare the written files."""
    source = folder / "source"
    size = write_random(source, config)
    found = []
    for to in TARGETS:
        done = in_turns({who: partial(run_alone, who, source, folder, to) for who in LIBRARIES}, repeats)
        difference = compare_tensors(*(open_checkpoint(folder / f"{who}-{to}", format=to) for who in LIBRARIES))
        assert not difference, difference
        found.append(Converted(to, size, Done(done["ours"]), Done(done["peers"])))
    return found


def in_shards(folder: Path, config: CLIPConfig, max_shard_size: str) -> list[Converted]:
    """Convert a larger sharded checkpoint to each target, ours only: memory should not grow."""
    source = folder / "large"
    size = write_random(source, config, max_shard_size)
    return [Converted(to, size, Done([run_alone("ours", source, folder, to)])) for to in TARGETS]


def main(library: str, source: str, target: str, to: str) -> None:
    """Convert in this process, and print seconds and peak bytes."""
    work = (ours if library == "ours" else peers)(source, target, to)
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, peak_memory()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
