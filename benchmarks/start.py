"""Row 1: startup time: imports over the bare framework's, beside transformers 4.57.6, and commands.

Every import runs in a fresh process, including the interpreter's start; the processes take turns. An import's time over
the bare framework is measured within its process, from when the framework is loaded, because times of separate
processes vary by more. Targets: `import clip_torch` (clip_tf, clip_flax) at most 0.3 s over its framework, `clip-zoo
--help` and `clip-zoo inspect` at most 0.5 s, with no framework loaded. CPU time is also reported, for machines that are
not idle.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import TYPE_CHECKING, Any

from checkpoints import write_random
from fresh import in_turns, run, spread
from goals import Goal, at_most
from plots import bars
from report import Report, Table

from clip_core.configuration import CLIPConfig

if TYPE_CHECKING:
    from pathlib import Path

    from fresh import Run
    from settings import Settings

REPEATS = 7
COLUMNS = ["command", "s", "above the baseline, s", "CPU time, s", "above the baseline, s"]
BARE = {"torch": "import torch", "tf": "import tensorflow, keras", "flax": "import jax; from flax import nnx"}
PEERS = {"torch": "CLIPModel", "tf": "TFCLIPModel", "flax": "FlaxCLIPModel"}
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "flax"}
COMMAND = "import sys; from clip_core.cli import main; sys.argv[0] = 'clip-zoo'; main()"

# The bare framework, then the import, with its own wall and CPU seconds.
PROGRAM = """
from time import perf_counter, process_time
{bare}
start = perf_counter(), process_time()
{statement}
print(perf_counter() - start[0], process_time() - start[1])
"""

# As large as a typical small trained CLIP: 35 MB.
SMALL_TEXT = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4}
SMALL_VISION = {**SMALL_TEXT, "hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4}


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check imports PyTorch only."""
    repeats = 1 if settings.quick else REPEATS
    checkpoint = settings.scratch / "start"
    write_random(checkpoint, CLIPConfig(SMALL_TEXT, SMALL_VISION, projection_dim=128))
    found = [one for backend in list(BARE)[: 1 if settings.quick else None] for one in import_rows(backend, repeats)]
    found += command_rows(checkpoint, repeats)
    written = Report("start", "Startup", __doc__ or "", quick=settings.quick)
    written.tables = [Table(COLUMNS, [cells(one) for one in found])]
    written.measurements = found
    written.goals = goals(found)
    written.plot = partial(draw, found)
    return written


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot the seconds above the baseline: the bare framework or interpreter."""
    values = {one["name"]: one["wall_over_bare"] for one in measurements}
    bars(path, title="Startup", across="s above the bare framework or interpreter", values=values)


def statements(backend: str) -> list[str]:
    """Return the imports a user of each library writes, after the bare framework."""
    ours, peer = f"clip_{backend}", PEERS[backend]
    return [
        f"import {ours}",
        f"from {ours} import CLIPModel, CLIPProcessor",
        f"from transformers import {peer}, CLIPProcessor",
    ]


def import_rows(backend: str, repeats: int) -> list[dict[str, Any]]:
    """Return the rows of one framework's imports, each with its time over the bare one."""
    programs = {BARE[backend]: PROGRAM.format(bare=BARE[backend], statement="pass")}
    programs |= {one: PROGRAM.format(bare=BARE[backend], statement=one) for one in statements(backend)}
    runs = in_turns({name: partial(run, "-c", program) for name, program in programs.items()}, repeats)
    return [row(name, done, list(map(seconds_of, done))) for name, done in runs.items()]


def seconds_of(done: Run) -> tuple[float, float]:
    """Parse wall and CPU seconds from the last line of the output."""
    wall, processor = map(float, done.output.splitlines()[-1].split())
    return wall, processor


def command_rows(checkpoint: Path, repeats: int) -> list[dict[str, Any]]:
    """Return the rows of the command line, beside an interpreter that does nothing."""
    arguments = {"clip-zoo --help": ["--help"], "clip-zoo inspect": ["inspect", str(checkpoint)]}
    for name, given in arguments.items():
        check_no_framework(name, given)
    programs = {name: partial(run, "-c", COMMAND, *given) for name, given in arguments.items()}
    runs = in_turns({"python": partial(run, "-c", "pass"), **programs}, repeats)
    return [row(name, done, differences(done, runs["python"])) for name, done in runs.items()]


def differences(done: list[Run], bare: list[Run]) -> list[tuple[float, float]]:
    """Return wall and CPU seconds over the bare process of the same round."""
    return [(one.wall - other.wall, one.processor - other.processor) for one, other in zip(done, bare, strict=True)]


def check_no_framework(name: str, arguments: list[str]) -> None:
    """Check that the command loads no framework."""
    seen = "import atexit, sys; atexit.register(lambda: print('\\n' + ' '.join(sys.modules))); "
    loaded = set(run("-c", seen + COMMAND, *arguments).output.splitlines()[-1].split())
    assert not loaded & FRAMEWORKS, f"{name} loads {', '.join(loaded & FRAMEWORKS)}"


def row(name: str, done: list[Run], over: list[tuple[float, float]]) -> dict[str, Any]:
    """Return medians in seconds, of the whole process and of the excess over the bare one."""
    walls, processors = [one.wall for one in done], [one.processor for one in done]
    return {
        "name": name,
        "wall": statistics.median(walls),
        "spread": spread(walls),
        "wall_over_bare": statistics.median(wall for wall, _ in over),
        "processor": statistics.median(processors),
        "processor_over_bare": statistics.median(processor for _, processor in over),
    }


def cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of the row."""
    rest = (row[key] for key in ("wall_over_bare", "processor", "processor_over_bare"))
    return [f"`{row['name']}`", f"{row['wall']:.2f} (±{row['spread']:.0%})", *(f"{seconds:.2f}" for seconds in rest)]


def goals(found: list[dict[str, Any]]) -> list[Goal]:
    """Return the targets: our imports over their frameworks, and the command line."""
    ours = [one for one in found if one["name"].startswith("import clip_")]
    commands = [one for one in found if one["name"].startswith("clip-zoo")]
    return [
        *(at_most(f"`{one['name']}` above its framework", one["wall_over_bare"], 0.3, " s") for one in ours),
        *(at_most(f"`{one['name']}`", one["wall"], 0.5, " s") for one in commands),
    ]
