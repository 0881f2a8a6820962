"""Row 13: `clip-zoo serve` under load, beside the same work by `encode_images` and `encode_texts` and beside Infinity.

1, 4, 16 and 64 clients each send one text or image at a time and wait for its embedding, over connections that stay
open. The model is ViT-B/32 with random weights, in PyTorch. Texts have 3 to 20 words; images are JPEG files of
500 x 375 pixels. Every embedding that a server returns, under load too, is compared with the one that our tasks compute
for the same input. In each round the functions and the servers take one turn each; while one works, the others idle.

The batch time is that of our task for as many inputs as there are clients. A request that arrives while the model runs
waits for that batch and then for its own, so that two batch times are the least that the slowest requests can hope for.
"""

from __future__ import annotations

import base64
import os
import statistics
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from checkpoints import write_processed
from comparing import DifferentOutputsError, check_same
from goals import at_least, at_most
from interleaved import number_of_turns
from load import Load, ServerError, infinity, ours
from PIL import Image
from plots import curves
from report import Report, Table, milliseconds
from timing import Work, orders
from tokenizing import WORDS

from clip_core.tasks.zero_shot import ZeroShotClassifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from goals import Goal
    from settings import Settings

CLIENTS = (1, 4, 16, 64)
INPUTS = {"images": 64, "texts": 256}  # in a turn
ALONE = 4  # times fewer with one client, which takes longer for each
SIZE = (500, 375)
RATE, BATCHES, JUDGED = 0.95, 2.0, 16  # the targets, and the number of clients that they are for
PEER = "infinity"


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check uses a tiny model and few inputs."""
    folder = settings.scratch / "serving"
    write_processed(folder, quick=settings.quick)
    classifier = ZeroShotClassifier.from_pretrained(folder, backend="torch")
    cases, notes = [], []
    servers = {}
    try:
        for name, start in {"ours": ours, PEER: infinity}.items():
            try:
                servers[name] = start(folder)
            except ServerError as error:
                if name == "ours":
                    raise
                notes.append(f"{name} was left out: {error}")
        for kind in INPUTS:
            cases += measured(kind, classifier, servers, settings, notes)
        notes += [f"{server.name}: {server.version}" for server in servers.values()]
        waiting = os.environ.get("OMP_WAIT_POLICY", "not set, which `clip-zoo serve` takes for PASSIVE")
        notes.append(f"OMP_WAIT_POLICY of all processes: {waiting}")
    finally:
        for server in servers.values():
            server.close()
    written = Report("serving", "Serving under load", __doc__ or "", quick=settings.quick)
    written.tables = [table(kind, cases) for kind in INPUTS]
    written.measurements = cases
    written.goals = goals(cases)
    written.notes = notes
    written.plot = partial(draw, cases)
    return written


def measured(
    kind: str,
    classifier: ZeroShotClassifier,
    servers: Mapping[str, Load],
    settings: Settings,
    notes: list[str],
) -> list[dict[str, Any]]:
    """Measure every number of clients for texts or images, on the servers that give the right embeddings."""
    count = 16 if settings.quick else INPUTS[kind]
    inputs = drawn(kind, count)
    encode = encoder_of(kind, classifier, inputs)
    expected = encode(count)
    bodies = {name: [server.body(kind, one) for one in written(kind, inputs)] for name, server in servers.items()}
    same = {}
    for name, server in servers.items():
        try:
            check_same(name, {"embeddings": server.turn(bodies[name], 4).embeds}, "ours", {"embeddings": expected})
            same[name] = server
        except (DifferentOutputsError, ServerError) as error:
            notes.append(f"{name} was left out for {kind}: {error}")
    assert "ours" in same, notes
    found = []
    for clients in (1, 4) if settings.quick else CLIENTS:
        some = max(1, count // ALONE) if clients == 1 else count
        found.append(case(kind, clients, some, encode, same, bodies, expected, settings))
    return found


def case(
    kind: str,
    clients: int,
    count: int,
    encode: Callable[[int], np.ndarray],
    servers: Mapping[str, Load],
    bodies: Mapping[str, list[bytes]],
    expected: np.ndarray,
    settings: Settings,
) -> dict[str, Any]:
    """Measure one number of clients in turns, and return the rates and the latencies."""
    task, batch = Work(lambda: encode(count)), Work(lambda: encode(min(clients, count)))
    first = task.run() + sum(server.turn(bodies[name][:count], clients).seconds for name, server in servers.items())
    turns = number_of_turns(first, settings.budget, fewest=3)
    rates: dict[str, list[float]] = {"task": [], **{name: [] for name in servers}}
    latencies: dict[str, list[float]] = {name: [] for name in servers}
    batches = []
    for order in orders(rates, turns):
        batches.append(batch.run())
        for name in order:
            if name == "task":
                rates[name].append(count / task.run())
                continue
            turn = servers[name].turn(bodies[name][:count], clients)
            check_same(name, {"embeddings": turn.embeds}, "ours", {"embeddings": expected[:count]})
            rates[name].append(count / turn.seconds)
            latencies[name] += turn.latencies
    return {
        "kind": kind,
        "clients": clients,
        "inputs": count,
        "batch_seconds": batches,
        "rates": rates,
        "latencies": {name: quantiles(values) for name, values in latencies.items()},
    }


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile of latencies."""
    return {"p50": float(np.quantile(seconds, 0.5)), "p99": float(np.quantile(seconds, 0.99)), "requests": len(seconds)}


def drawn(kind: str, count: int) -> list[Any]:
    """Return texts, or the bytes of JPEG files, drawn from a seed."""
    random = np.random.default_rng(0)
    if kind == "texts":
        return [" ".join(random.choice(WORDS.split(), random.integers(3, 21))) for _ in range(count)]
    files = []
    for _ in range(count):
        small = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        file = BytesIO()
        small.resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def written(kind: str, inputs: list[Any]) -> list[str]:
    """Return inputs as the fields of a request: texts, or data URIs."""
    if kind == "texts":
        return inputs
    return ["data:image/jpeg;base64," + base64.b64encode(content).decode() for content in inputs]


def encoder_of(kind: str, classifier: ZeroShotClassifier, inputs: list[Any]) -> Callable[[int], np.ndarray]:
    """Return a function that encodes the first inputs by our task, from the same bytes that requests hold."""
    if kind == "texts":
        return lambda count: classifier.encode_texts(inputs[:count])
    uris = written(kind, inputs)
    return lambda count: classifier.encode_images(uris[:count])


def share(one: dict[str, Any], name: str) -> float:
    """Return a server's rate relative to our task's: the median of the rounds."""
    return statistics.median(ours / task for ours, task in zip(one["rates"][name], one["rates"]["task"], strict=True))


def batch_times(one: dict[str, Any], name: str) -> float:
    """Return the 99th percentile of a server's latencies in batch times."""
    return one["latencies"][name]["p99"] / statistics.median(one["batch_seconds"])


def table(kind: str, cases: list[dict[str, Any]]) -> Table:
    """Return the table of texts or images."""
    rows = []
    for one in (case for case in cases if case["kind"] == kind):
        for name, times in one["latencies"].items():
            rows.append(
                [
                    f"{one['clients']} clients, {name}" if one["clients"] > 1 else f"1 client, {name}",
                    f"{statistics.median(one['rates'][name]):.1f}",
                    f"{share(one, name):.2f}",
                    milliseconds_of(times["p50"]),
                    milliseconds_of(times["p99"]),
                    milliseconds_of(statistics.median(one["batch_seconds"])),
                    f"{batch_times(one, name):.2f}",
                ]
            )
    columns = [kind, "per second", "of the task's rate", "p50, ms", "p99, ms", "batch, ms", "p99 in batch times"]
    return Table(columns, rows)


def milliseconds_of(seconds: float) -> str:
    """Format a latency."""
    return milliseconds(seconds, 0).partition(" ")[0]


def goals(cases: list[dict[str, Any]]) -> list[Goal]:
    """Return the targets: the rate and the slowest requests at 16 clients."""
    found = []
    for one in cases:
        if one["clients"] == JUDGED:
            what = f"{one['kind']}, {JUDGED} clients"
            found.append(at_least(f"{what}: share of the task's rate", share(one, "ours"), RATE))
            found.append(at_most(f"{what}: p99 in batch times", batch_times(one, "ours"), BATCHES))
    return found


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot rates over the number of clients, beside our task's."""
    panels = {}
    for kind in INPUTS:
        some = [one for one in measurements if one["kind"] == kind]
        names = dict.fromkeys(name for one in some for name in one["rates"])
        lines = {}
        for name in names:
            points = [(one["clients"], statistics.median(one["rates"][name])) for one in some if name in one["rates"]]
            label = {"task": "encode_" + kind, "ours": "ours, served"}.get(name, name)
            lines[label] = ([clients for clients, _ in points], [rate for _, rate in points])
        panels[kind.capitalize()] = ("clients", f"{kind} per second", lines)
    curves(path, panels)
