"""Row 8: one CUDA GPU. ViT-L/14 beside transformers 5, in steps that can be cut off anywhere and resumed.

The steps, in the order of their worth: the tests for a GPU, the three tables of transformers' page on CLIP with every
attention, CUDA graphs, large batches in bfloat16, Flax's attention, and training under DDP.

    python benchmarks/gpu.py                        measure what results/gpu.json does not hold yet
    python benchmarks/gpu.py --minutes 9            begin nothing that may not end within nine minutes
    python benchmarks/gpu.py --steps text,vision    some of the steps
    python benchmarks/gpu.py --plan                 how long each may take, as far as its work can be counted
    python benchmarks/gpu.py --rehearse             every line on a CPU, with tiny models; the numbers mean nothing

It runs from a plain checkout: nothing has to be installed but PyTorch, JAX, Flax, transformers 5 and pytest. Packages
in pure Python that the machine lacks are taken from the wheels in `build/gpu-bundle`, which `make gpu-bundle` collects.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from settings import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpu_steps.step import Job, Record, Step
    from report import Report
    from settings import Settings

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
BUNDLE = ROOT / "build" / "gpu-bundle"
REHEARSAL = "rehearsal"
NEEDS_PACKAGE = "transformers 5 FA2"  # runs only with flash-attn, which no plain machine has

# By step and unit, what was measured; a record of what failed has a "failed", and is tried again.
Records = dict[str, dict[str, "Record"]]


def report(settings: Settings) -> Report:
    """Measure all, as a row of `benchmarks/run.py`.

    Raises:
        UnavailableError: there is no CUDA GPU.
    """
    from gpu_steps import STEPS
    from gpu_steps.step import Job

    device = device_name()
    records: Records = {}
    for _ in measure(Job(settings.scratch, budget=settings.budget), STEPS, records):
        pass
    return written(records, STEPS, device)


def device_name() -> str:
    """Return the name of the GPU.

    Raises:
        UnavailableError: PyTorch finds none.
    """
    import torch

    if not torch.cuda.is_available():
        raise UnavailableError(
            f"no CUDA device was found by PyTorch {torch.__version__}, so nothing was measured. `make bench-gpu` on a "
            "machine with one GPU measures this row and writes benchmarks/results/gpu.md."
        )
    return str(torch.cuda.get_device_name())


def measure(job: Job, steps: Sequence[Step], records: Records, seconds: float = float("inf")) -> Any:
    """Run what is not recorded yet, and yield after every unit.

    Args:
        job: where and how thoroughly.
        steps: in the order in which they are run.
        records: what is known already; grows.
        seconds: begin nothing that may not end within so many.
    """
    end = time.monotonic() + seconds
    for step in steps:
        known = records.setdefault(step.name, {})
        pending = [unit for unit in step.units(job) if "failed" in known.get(unit.name, {"failed": ""})]
        if not pending:
            continue
        if time.monotonic() + step.start_seconds + pending[0].seconds > end:
            print(f"{step.name}: not begun, because {pending[0].name} may not end in time")
            continue
        running = step.run(job, [unit.name for unit in pending])
        for unit in pending:
            if time.monotonic() + unit.seconds > end:
                print(f"{step.name}: {unit.name} and what follows is left for another time")
                break
            start = time.monotonic()
            try:
                name, record = next(running)
            except Exception:  # noqa: BLE001  the other steps are measured all the same
                known[unit.name] = {"failed": traceback.format_exc()[-2000:]}
                yield step.name, unit.name
                break
            known[name] = record | {"took": time.monotonic() - start}
            yield step.name, name
        running.close()


def written(records: Records, steps: Sequence[Step], device: str) -> Report:
    """Return the report of what is recorded so far."""
    from report import Report

    made = Report("gpu", f"ViT-L/14 on one {device}", __doc__ or "", quick=device == REHEARSAL)
    made.description = (__doc__ or "").partition("\n\n    python")[0]
    made.versions |= {"GPU": device}
    for step in steps:
        found = {name: record for name, record in records.get(step.name, {}).items() if "failed" not in record}
        if found:
            step.describe(found, made)
        for name, record in records.get(step.name, {}).items():
            made.measurements.append({"step": step.name, "unit": name} | record)
            if "failed" in record:
                made.notes.append(f"{step.title}, {name} failed: {record['failed'].strip().splitlines()[-1]}")
    return made


def read_records(path: Path, device: str) -> Records:
    """Return what a report holds that was measured on the same device; nothing where there is no report."""
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    there = content["versions"].get("GPU")
    if there != device:
        print(f"{path} is of {there}, not of {device}: measuring all anew")
        return {}
    records: Records = {}
    for one in content["measurements"]:
        step, unit = one.pop("step"), one.pop("unit")
        records.setdefault(step, {})[unit] = one
    return records


def use_checkout(bundle: Path) -> None:
    """Let this process and those that it starts find our packages, and those in the bundle."""
    found = [str(ROOT), str(Path(__file__).parent)]
    wheels = sorted(bundle.glob("*.whl"))
    if wheels:
        packages = Path(tempfile.mkdtemp(prefix="gpu-bundle-"))
        for wheel in wheels:
            zipfile.ZipFile(wheel).extractall(packages)
        found.append(str(packages))
    sys.path[:0] = found
    os.environ["PYTHONPATH"] = os.pathsep.join([*found, *filter(None, [os.environ.get("PYTHONPATH")])])


def plan(steps: Sequence[Step], job: Job) -> dict[str, float]:
    """Return how many seconds each step may take, starting included."""
    return {step.name: step.start_seconds + sum(unit.seconds for unit in step.units(job)) for step in steps}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, writing the report after every unit; 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to (benchmarks/results)")
    parser.add_argument("--resume", type=Path, help="a gpu.json to go on from, by default that in --results")
    parser.add_argument("--steps", help="names between commas; all by default")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing that may take longer")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for the turns of one case (20)")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="a folder of wheels (build/gpu-bundle)")
    parser.add_argument("--rehearse", action="store_true", help="run all on a CPU, with tiny models")
    parser.add_argument("--plan", action="store_true", help="tell how long each step may take, and do nothing")
    options = parser.parse_args(arguments)
    use_checkout(options.bundle)
    from gpu_steps import STEPS
    from gpu_steps.step import Job

    names = options.steps.split(",") if options.steps else [step.name for step in STEPS]
    unknown = set(names) - {step.name for step in STEPS}
    if unknown:
        parser.error(f"--steps: no step {min(unknown)!r}; there are {', '.join(step.name for step in STEPS)}")
    chosen = [step for step in STEPS if step.name in names]
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(Path(scratch), options.rehearse, options.budget)
        if options.plan:
            for name, seconds in plan(chosen, job).items():
                print(f"{name:14} {seconds:5.0f} s")
            return 0
        try:
            device = REHEARSAL if options.rehearse else device_name()
        except UnavailableError as reason:
            print(reason)
            return 0
        records = read_records(options.resume or options.results / "gpu.json", device)
        for step, unit in measure(job, chosen, records, 60 * options.minutes):
            written(records, STEPS, device).write(options.results)
            print(f"{step}: {unit}: {'failed' if 'failed' in records[step][unit] else 'done'}", flush=True)
    made = written(records, STEPS, device)
    made.write(options.results)
    print(made.markdown())
    wrong = problems(records, rehearse=options.rehearse)
    print("\n".join(wrong), file=sys.stderr)
    return int(bool(wrong))


def problems(records: Records, *, rehearse: bool) -> list[str]:
    """Return a line on every unit that failed, and in a rehearsal on every contestant that was left out."""
    found = []
    for step, units in records.items():
        for unit, record in units.items():
            if "failed" in record:
                found.append(f"{step}, {unit} failed:\n{record['failed']}")
            if rehearse:
                left_out = record.get("left_out", {}).items()
                found += [f"{step}, {unit} lacks {name}:\n{why}" for name, why in left_out if name != NEEDS_PACKAGE]
                found += [f"{step}, {unit}: {failure}" for failure in record.get("failures", [])]
    return found


if __name__ == "__main__":
    sys.exit(main())
