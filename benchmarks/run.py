"""Benchmarks of this project beside its peers: `python benchmarks/run.py [--rows 1,5] [--quick | --redraw]`.

    1 start   2 loading   3 preprocessing   4 texts   5 forward   6 labels   7 conversion   9 growth   10 precision
    11 tokenizing   12 explaining   13 serving   14 stores   15 embedding

Row 8 needs a GPU and is measured by `benchmarks/gpu.py`.

Each row writes `<row>.json`, `<row>.md` and `<row>.png`. Peers whose environment has not been created are left out, and
the report says so; `make bench` creates all environments.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from functools import partial
from importlib import import_module
from pathlib import Path

from report import Report
from settings import Settings

from clip_core.commands.streams import run_program

RESULTS = Path(__file__).with_name("results")

# The module of each row, whose `report` measures it; imported only when selected.
ROWS = {
    1: "start",
    2: "loading",
    3: "preprocessing",
    4: "texts",
    5: "forward",
    6: "labels",
    7: "conversion",
    9: "growth",
    10: "precision",
    11: "tokenizing",
    12: "explaining",
    13: "serving",
    14: "stores",
    15: "embedding",
}


def row_numbers(text: str) -> list[int]:
    """Parse comma-separated row numbers.

    Raises:
        argparse.ArgumentTypeError: if there is no such row.
    """
    known = {str(number): number for number in ROWS}
    unknown = [one for one in text.split(",") if one not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no row {unknown[0]!r}; there are {','.join(known)}")
    return [known[one] for one in text.split(",")]


def run_row(number: int, options: argparse.Namespace) -> bool:
    """Measure a row and write its report; on failure print the reason and return False."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            settings = Settings(Path(scratch), options.quick, options.budget, options.clients)
            report: Report = import_module(ROWS[number]).report(settings)
        except Exception:  # noqa: BLE001  the other rows are still measured
            traceback.print_exc()
            return False
    files = report.write(options.results)
    print(
        f"\n{report.markdown()}\nRow {number} took {time.perf_counter() - start:.0f} s: {', '.join(map(str, files))}\n"
    )
    return True


def redraw(number: int, folder: Path) -> None:
    """Write the page and the plot of a row's stored results again, without measuring."""
    row = import_module(ROWS[number])
    report = Report.read(folder / f"{ROWS[number]}.json")
    if hasattr(row, "draw"):
        report.plot = partial(row.draw, report.measurements)
    print(*report.write(folder), sep="\n")


def main() -> int:
    """Measure the selected rows, or redraw them; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=row_numbers, default=list(ROWS), help="such as 1,5; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="only check that everything runs, on small models with few turns"
    )
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for the turns of one case (60)")
    parser.add_argument("--clients", type=int, help="the only number of clients of row 13, such as 16; all by default")
    parser.add_argument(
        "--results", type=Path, help="the folder to write to; benchmarks/results, or none with --quick or --clients"
    )
    parser.add_argument("--redraw", action="store_true", help="write pages and plots of the stored results again")
    options = parser.parse_args()
    if options.clients is not None and options.clients < 1:
        parser.error(f"--clients {options.clients}: give a number of 1 or more")
    if options.redraw:
        for number in options.rows:
            redraw(number, options.results or RESULTS)
        return 0
    with tempfile.TemporaryDirectory() as nowhere:
        if options.results is None:  # a quick check's values mean nothing, and those of some clients are a part
            options.results = Path(nowhere) if options.quick or options.clients else RESULTS
        done = [run_row(number, options) for number in options.rows]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(run_program(main, "run.py"))
