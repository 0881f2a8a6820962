"""The program that measures the stores of `vector_stores.py` side by side.

    python vector_measurements.py COUNT FOLDER TURNS KILLS [STORE]...

It builds each store from clustered vectors, and prints one JSON object per line: the times, size, recall and losses of
a store, or why it was left out. With a store alone it adds to it until it is killed:

    python vector_measurements.py STORE FOLDER
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from itertools import count as counting
from pathlib import Path

import numpy as np
from vector_stores import PART, STORES, TOP, clusters, made, nearest

from clip_core.tasks.search import approximate

ADDED = 100  # vectors in the update that is timed, and in each addition before a kill
QUERIES = 50
PACKAGES = ("faiss-cpu", "lancedb", "sqlite-vec", "usearch")
FIRST = 1_000  # vectors before the additions that a kill interrupts


def measure(count: int, folder: Path, turns: int, kills: int, names: list[str]) -> None:
    """Build every store, time its queries in turns, then an update and kills; print the results."""
    # Sizes below the usual threshold get lists too, so that both ways are compared.
    approximate.WORTH = min(approximate.WORTH, count)
    print(json.dumps({"versions": dict(zip(PACKAGES, map(installed, PACKAGES), strict=True))}), flush=True)
    stores, found = {}, {}
    for name in names:
        try:
            start, processor = time.perf_counter(), time.process_time()
            store = made(name, folder / name)
            for part in clusters(count):
                store.add(part)
            store.finish()
            found[name] = {"store": name, "count": count, "build": time.perf_counter() - start}
            found[name] |= {"build_processor": time.process_time() - processor, "bytes": size_of(folder / name)}
            stores[name] = store
        except Exception as error:  # noqa: BLE001  the others are measured
            print(json.dumps({"store": name, "left_out": f"{type(error).__name__}: {error}"[:300]}), flush=True)
    queries = next(clusters(count, seed=7))[:QUERIES]
    expected = nearest(count, queries)
    answers: dict[str, list[list[int]]] = {name: [] for name in stores}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in stores}
    random = np.random.default_rng(3)
    for turn in range(turns):
        for place in random.permutation(len(stores)):
            name = list(stores)[place]
            stores[name].search(queries[turn % QUERIES])  # untimed: the store before has emptied the caches
            for query in queries[:QUERIES] if turn == 0 else queries[turn % QUERIES :][:3]:
                start, processor = time.perf_counter(), time.process_time()
                answer = stores[name].search(query)
                times[name].append((time.perf_counter() - start, time.process_time() - processor))
                if turn == 0:
                    answers[name].append(answer)
    for name, store in stores.items():
        kept = [len(set(some) & set(right)) / TOP for some, right in zip(answers[name], expected, strict=True)]
        start = time.perf_counter()
        store.add(next(clusters(ADDED, seed=11)))
        found[name] |= {"update": time.perf_counter() - start, "recall": statistics.fmean(kept)}
        found[name] |= {"seconds": [one for one, _ in times[name]], "processor": [one for _, one in times[name]]}
        found[name] |= losses(name, folder / "killed", kills)
        print(json.dumps(found[name]), flush=True)


def installed(package: str) -> str:
    """Return the version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def losses(name: str, folder: Path, kills: int) -> dict[str, int]:
    """Kill a process that adds to a store; return how many acknowledged vectors there were, and how many are lost."""
    random, acknowledged, lost = np.random.default_rng(5), 0, 0
    for _ in range(kills):
        shutil.rmtree(folder, ignore_errors=True)
        lines, rest = int(random.integers(2, 12)), float(random.exponential(0.01))
        command = [sys.executable, __file__, name, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None
            told = [line for _, line in zip(range(lines), process.stdout, strict=False)]
            time.sleep(rest)  # so that the moment does not depend on what is printed
            process.kill()
            told += [line for line in process.stdout if line.endswith("\n")]
        acknowledged += int(told[-1])
        try:
            lost += max(0, int(told[-1]) - STORES[name][0].survivors(folder))
        except Exception:  # noqa: BLE001  a store that cannot be opened has lost everything
            lost += int(told[-1])
    shutil.rmtree(folder, ignore_errors=True)
    return {"acknowledged": acknowledged, "lost": lost}


def add_for_ever(name: str, folder: Path) -> None:
    """Add vectors, and print their number whenever they are stored permanently."""
    store = made(name, folder)
    rows = next(clusters(FIRST + PART))
    store.add(rows[:FIRST])
    store.finish()
    for number in counting():
        print(FIRST + ADDED * number, flush=True)
        place = FIRST + ADDED * number % (PART - FIRST)
        store.add(rows[place : place + ADDED])


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    if sys.argv[1] in STORES:
        add_for_ever(sys.argv[1], Path(sys.argv[2]))
    else:
        count, folder, turns, kills, *names = sys.argv[1:]
        target = Path(folder)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        measure(int(count), target, int(turns), int(kills), names or list(STORES))
        shutil.rmtree(target, ignore_errors=True)
