"""GPU benchmark of ViT-L/14 beside transformers 5 on one CUDA device, in steps that can be interrupted and resumed.

The steps, by importance: the GPU tests, the three tables of transformers' CLIP page with every attention
implementation, CUDA graphs, large batches in bfloat16, Flax's attention, and training under DDP.

    python benchmarks/gpu.py                        measure everything not yet in results/gpu.json
    python benchmarks/gpu.py --minutes 9            start nothing that might not finish within nine minutes
    python benchmarks/gpu.py --steps text,vision    run only these steps
    python benchmarks/gpu.py --plan                 estimate the time of each step
    python benchmarks/gpu.py --rehearse             run all code on a CPU with tiny models; the figures mean nothing

It runs from a plain checkout that needs only PyTorch, JAX, Flax, transformers 5 and pytest. Missing pure-Python
packages come from the wheels in `build/gpu-bundle`, collected by `make gpu-bundle`.
"""

from __future__ import annotations

import argparse
import atexit
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
import time
import traceback
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from settings import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpu_steps.step import Job, Record, Step, Unit
    from report import Report

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
BUNDLE = ROOT / "build" / "gpu-bundle"
REHEARSAL = "rehearsal"
_FAILED: Record = {"failed": ""}
NEEDS_PACKAGE = "transformers 5 FA2"  # requires flash-attn, which a plain machine does not have

# Measurements by step and unit; a record with "failed" is retried.
Records = dict[str, dict[str, "Record"]]


def device_name() -> str:
    """Return the name of the GPU.

    Raises:
        UnavailableError: if PyTorch finds none.
    """
    import torch

    if not torch.cuda.is_available():
        raise UnavailableError(
            f"no CUDA device was found by PyTorch {torch.__version__}, so nothing was measured. On a "
            "machine with one GPU this writes benchmarks/results/gpu.md; --rehearse runs all of it on a CPU."
        )
    return str(torch.cuda.get_device_name())


def is_done(record: Record) -> bool:
    """Return True if a unit need not run again: nothing failed, and no runnable contestant was left out."""
    return not ("failed" in record or record.get("failing") or record.get("left_out", {}).keys() - {NEEDS_PACKAGE})


def measure(job: Job, steps: Sequence[Step], records: Records, save: Callable[[], None]) -> None:
    """Run every unit that is not recorded yet, or that failed.

    Args:
        job: the settings and the deadline. Nothing starts that might not finish before it.
        steps: the steps, in order.
        records: the existing records; updated in place.
        save: called before and after every unit, because the process may be killed at any time.
    """
    for step in steps:
        known = records.setdefault(step.name, {})
        pending = [unit for unit in step.units(job) if unit.name not in known or not is_done(known[unit.name])]
        pending.sort(key=lambda unit: unit.name in known)  # interrupted and failed units come last
        while pending:
            if time.monotonic() + step.start_seconds + pending[0].seconds > job.end:
                print(f"{step.name}: {pending[0].name} is postponed, as it might not finish in time")
                break
            pending = run_units(step, job, pending, known, save)


def run_units(
    step: Step, job: Job, pending: Sequence[Unit], known: dict[str, Record], save: Callable[[], None]
) -> Sequence[Unit]:
    """Run units of a step until one fails or time runs out, and return the remaining ones."""
    running = step.run(job, [unit.name for unit in pending])
    for index, unit in enumerate(pending):
        if index and time.monotonic() + unit.seconds > job.end:
            return pending[index:]
        known[unit.name] = {"failed": "cut off"}
        save()
        start = time.monotonic()
        try:
            name, record = next(running)
        except Exception:  # noqa: BLE001  later units are still measured
            known[unit.name] = {"failed": traceback.format_exc()[-2000:]}
            save()
            return pending[index + 1 :]
        known[name] = record | {"took": time.monotonic() - start, "code": code_fingerprint()}
        save()
        print(f"{step.name}: {name}: {'done' if is_done(record) else 'failed'}", flush=True)
    running.close()
    return []


@cache
def code_fingerprint() -> str:
    """Return a hash of the measured code, so that a report can flag records from different code."""
    digest = hashlib.sha256()
    for package in ("clip_core", "clip_flax", "clip_torch", "benchmarks"):
        for file in sorted((ROOT / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def written(records: Records, steps: Sequence[Step], device: str) -> Report:
    """Return the report of everything recorded so far."""
    from report import Report

    made = Report("gpu", f"ViT-L/14 on one {device}", __doc__ or "", quick=device == REHEARSAL)
    made.description = (__doc__ or "").partition("\n\n    python")[0]
    made.versions |= {"GPU": device}
    titles = {step.name: step.title for step in steps}
    for name, units in records.items():
        for unit, record in units.items():
            made.measurements.append({"step": name, "unit": unit} | record)
            if "failed" in record:
                made.notes.append(f"{titles.get(name, name)}, {unit}: {record['failed'].strip().splitlines()[-1]}")
    codes = {record.get("code") for units in records.values() for record in units.values() if "failed" not in record}
    if len(codes) > 1:
        made.notes.append(f"These figures come from {len(codes)} different versions of the code.")
    for step in steps:
        found = {name: record for name, record in records.get(step.name, {}).items() if "failed" not in record}
        if found:
            try:
                step.describe(found, made)
            except Exception as error:  # noqa: BLE001  the figures are kept anyway
                made.notes.append(f"{step.title} could not be reported: {type(error).__name__}: {error}")
    return made


def read_records(path: Path, device: str) -> Records:
    """Return a report's records if they are from the same device; empty if there is no report.

    An unreadable file is renamed and kept.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
        there = content["versions"].get("GPU")
        measurements = content["measurements"]
    except (ValueError, KeyError):
        broken = path.with_suffix(".broken.json")
        path.replace(broken)
        print(f"{path} is damaged; it was renamed to {broken}, and everything is measured again")
        return {}
    if there != device:
        print(f"{path} was measured on {there}, not on {device}; ignored")
        return {}
    records: Records = {}
    for one in measurements:
        step, unit = one.pop("step"), one.pop("unit")
        records.setdefault(step, {})[unit] = one
    return records


def merged(*several: Records) -> Records:
    """Merge records. For the same unit, the last completed record wins, or the last one if none is complete."""
    found: Records = {}
    for records in several:
        for step, units in records.items():
            known = found.setdefault(step, {})
            known |= {unit: one for unit, one in units.items() if is_done(one) or not is_done(known.get(unit, _FAILED))}
    return found


def use_checkout(bundle: Path) -> None:
    """Make our packages and those in the bundle importable, here and in child processes."""
    found = [str(ROOT), str(Path(__file__).parent)]
    wheels = sorted(bundle.glob("*.whl"))
    if wheels:
        packages = Path(tempfile.mkdtemp(prefix="gpu-bundle-"))
        atexit.register(shutil.rmtree, packages, ignore_errors=True)
        for wheel in wheels:
            zipfile.ZipFile(wheel).extractall(packages)
        found.append(str(packages))
    sys.path[:0] = found
    os.environ["PYTHONPATH"] = os.pathsep.join([*found, *filter(None, [os.environ.get("PYTHONPATH")])])


def plan(steps: Sequence[Step], job: Job) -> dict[str, float]:
    """Return the estimated seconds of each step, including startup."""
    return {step.name: step.start_seconds + sum(unit.seconds for unit in step.units(job)) for step in steps}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, writing the report after every unit; return 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="the folder to write to (benchmarks/results; none in a rehearsal)")
    parser.add_argument("--resume", type=Path, help="a gpu.json to resume from; by default those of both folders")
    parser.add_argument("--steps", help="comma-separated names; all by default")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start nothing that might take longer")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for the turns of one case (20)")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="a folder of wheels (build/gpu-bundle)")
    parser.add_argument("--rehearse", action="store_true", help="run all code on a CPU, with tiny models")
    parser.add_argument("--plan", action="store_true", help="print the estimated time of each step, and exit")
    options = parser.parse_args(arguments)
    if options.resume and not options.resume.exists():
        parser.error(f"--resume: {options.resume} does not exist")
    use_checkout(options.bundle)
    from gpu_steps import STEPS
    from gpu_steps.step import Job

    names = options.steps.split(",") if options.steps else [step.name for step in STEPS]
    unknown = set(names) - {step.name for step in STEPS}
    if unknown:
        parser.error(f"--steps: no step {min(unknown)!r}; there are {', '.join(step.name for step in STEPS)}")
    chosen = [step for step in STEPS if step.name in names]
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(Path(scratch), options.rehearse, options.budget, time.monotonic() + 60 * options.minutes)
        if options.plan:
            for name, seconds in plan(chosen, job).items():
                print(f"{name:14} {seconds:5.0f} s")
            return 0
        try:
            device = REHEARSAL if options.rehearse else device_name()
        except UnavailableError as reason:
            print(reason)
            return 0
        results = options.results or (job.scratch if options.rehearse else RESULTS)
        sources = [options.resume] if options.resume else [RESULTS / "gpu.json", results / "gpu.json"]
        records = merged(*(read_records(path, device) for path in dict.fromkeys(sources)))
        if (results / "gpu.json").exists() and not read_records(results / "gpu.json", device) and not options.resume:
            parser.error(f"--results: {results / 'gpu.json'} is from another device; choose another folder")
        measure(job, chosen, records, lambda: written(records, STEPS, device).write(results) and None)
        made = written(records, STEPS, device)
        made.write(results)
    print(made.markdown())
    wrong = problems(records, rehearse=options.rehearse)
    print("\n".join(wrong), file=sys.stderr)
    return int(bool(wrong))


def problems(records: Records, *, rehearse: bool) -> list[str]:
    """Return all failures: units and tests, and in a rehearsal every contestant left out."""
    found = []
    for step, units in records.items():
        for unit, record in units.items():
            if "failed" in record:
                found.append(f"{step}, {unit} failed:\n{record['failed']}")
            found += [f"{step}, {unit}: {failure}" for failure in record.get("failures", [])]
            if rehearse:
                left_out = record.get("left_out", {}).items()
                found += [f"{step}, {unit} lacks {name}:\n{why}" for name, why in left_out if name != NEEDS_PACKAGE]
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # a plain checkout is not installed
    from clip_core.commands.streams import run_program

    sys.exit(run_program(main, "gpu.py"))
