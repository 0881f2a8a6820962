"""Fuzz the targets with atheris, guided by the coverage of our own code, each in a process of its own.

    python tests/fuzz/run.py [TARGET ...]

FUZZ_SECONDS is the time for each target, and FUZZ_PROCESSES the number that run at once, by default one for each core.
FUZZ_SEED makes the inputs repeatable; by default they differ from run to run. The exit code is 1 if there are findings,
or a target could not run. New inputs and findings go to build/fuzz. Once a finding is fixed, move it to
tests/fuzz/corpus, which the suite replays.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "fuzz"
NAMES = ("safetensors", "torch", "tf", "flax", "index", "config", "preprocessor", "image", "tokenizer_files", "text")
NAMES += ("shard", "parquet", "table")
_MEMORY = Path("/dev/shm")  # noqa: S108  targets write files thousands of times a second
_SHOWN = 3000  # characters of the log of a finding, which ends in the input
_LIMITS = ("-timeout=30", "-rss_limit_mb=3000", "-max_len=8192", "-print_final_stats=1")


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target; this does not return."""
    import atheris

    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    with atheris.instrument_imports(include=["clip_core", "converters"]):
        from fuzz.targets import TARGETS

    found = BUILD / name
    found.mkdir(parents=True, exist_ok=True)
    folders = [str(found), str(HERE / "corpus" / name)]
    limits = [*_LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={found.parent}/{name}-"]
    limits += [f"-seed={os.environ.get('FUZZ_SEED', '0')}"]  # 0 draws one
    atheris.Setup([sys.argv[0], *limits, *folders], TARGETS[name])
    atheris.Fuzz()


def run(name: str, seconds: int, folder: str) -> bool:
    """Fuzz one target in a process of its own, print its row, and return True if it ran without findings."""
    start, log = time.monotonic(), BUILD / f"{name}.log"
    with log.open("wb") as file:
        command = [sys.executable, str(HERE / "run.py"), "--one", name, str(seconds)]
        environment = {**os.environ, "TMPDIR": folder}
        code = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, check=False, cwd=ROOT, env=environment
        ).returncode
    said = log.read_text(errors="replace")
    counted = re.search(r"number_of_executed_units: (\d+)", said)
    count = int(counted[1]) if counted else 0
    is_sound = code == 0 and count > 0
    print(f"{name:16} {count:>12,} {time.monotonic() - start:8.0f} {int(not is_sound):8}", flush=True)
    if not is_sound:
        print(f"{said[-_SHOWN:]}\n  see {log}, and the input beside it", flush=True)
    return is_sound


def main(names: list[str]) -> int:
    """Fuzz some targets, print a row for each, and return 1 if there are findings."""
    seconds = int(os.environ.get("FUZZ_SECONDS", "3600"))
    processes = int(os.environ.get("FUZZ_PROCESSES", os.cpu_count() or 1))
    BUILD.mkdir(parents=True, exist_ok=True)
    print(f"{'target':16} {'executions':>12} {'seconds':>8} {'findings':>8}")
    memory = _MEMORY if _MEMORY.is_dir() else None
    # The fuzzer ends a process at once, without the functions that would remove its files.
    temporary = tempfile.TemporaryDirectory(prefix="clip-zoo-fuzz-", dir=memory)
    with temporary as folder, ThreadPoolExecutor(processes) as pool:
        sound = list(pool.map(partial(run, seconds=seconds, folder=folder), names))
    return 0 if all(sound) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], int(sys.argv[3]))
    sys.exit(main(sys.argv[1:] or list(NAMES)))
