"""Row 13: `clip-zoo serve` under load, beside the same work by `encode_images` and `encode_texts` and beside Infinity.

1, 4, 16 and 64 clients each send one text or image at a time and wait for its embedding, over connections that stay
open. The model is ViT-B/32 with random weights, in PyTorch. Texts have 3 to 20 words; images are JPEG files of
500 x 375 pixels. Every embedding that a server returns, under load too, is compared with the one that our tasks compute
for the same input. In each round the functions and the servers take one turn each; while one works, the others idle.

The task encodes all inputs in one call, texts 256 at a time and images 32. The server prepares its model for the CPU
(`ZeroShotClassifier.prepared`), so the task runs both with the model as loaded and with a prepared one. As many clients
never have more inputs in progress than there are clients, so the prepared task also runs in batches of that size ("in
batches"): a small batch takes more time for each input, because each reads all weights. What is lost beside it is what
HTTP costs. Clients, HTTP and model share the processors. The processor times bound the share of a task's rate that a
server can reach beside its clients ("bound"); "without clients" is the share measured, less the clients' processor
time.

The batch time is that of the prepared task for as many inputs as there are clients. A request that arrives while the
model runs waits for that batch and then for its own, so that two batch times are the least that the slowest requests
can hope for.
"""

from __future__ import annotations

import base64
import math
import os
import statistics
import time
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from checkpoints import write_processed
from comparing import DifferentOutputsError, check_same
from interleaved import number_of_turns
from load import Load, ServerError, infinity, ours
from PIL import Image
from plots import curves
from report import Report
from served_rates import BATCHES, PREPARED, TASK, costs_table, goals, rates_table
from timing import Work, orders
from tokenizing import WORDS

from clip_core.tasks.zero_shot import ZeroShotClassifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from settings import Settings

CLIENTS = (1, 4, 16, 64)
INPUTS = {"images": 64, "texts": 256}  # in a turn
ALONE = 4  # times fewer with one client, which takes longer for each
SIZE = (500, 375)
PEER = "infinity"


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check uses a tiny model and few inputs."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in `clip-zoo serve`; PyTorch is imported below
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
        notes.append(f"OMP_WAIT_POLICY of all processes: {os.environ['OMP_WAIT_POLICY']}")
        busy = max(one["load_average"] for one in cases)
        notes.append(f"the load average, our own processes included, was at most {busy:.1f}")
    finally:
        for server in servers.values():
            server.close()
    written = Report("serving", "Serving under load", __doc__ or "", quick=settings.quick)
    written.tables = [of(kind, cases) for of in (rates_table, costs_table) for kind in INPUTS]
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
    encode, encode_prepared = (encoder_of(kind, one, inputs) for one in (classifier, classifier.prepared()))
    expected = encode(count, count)
    bodies = {name: [server.body(kind, one) for one in written(kind, inputs)] for name, server in servers.items()}
    check_same("prepared", {"embeddings": encode_prepared(count, count)}, "ours", {"embeddings": expected})
    same = {}
    for name, server in servers.items():
        try:
            check_same(name, {"embeddings": server.turn(bodies[name], 4).embeds}, "ours", {"embeddings": expected})
            same[name] = server
        except (DifferentOutputsError, ServerError) as error:
            notes.append(f"{name} was left out for {kind}: {error}")
    assert "ours" in same, notes
    found = []
    for clients in numbers_of_clients(settings):
        some = max(1, count // ALONE) if clients == 1 else count
        found.append(case(kind, clients, some, (encode, encode_prepared), same, bodies, expected, settings))
    return found


def numbers_of_clients(settings: Settings) -> tuple[int, ...]:
    """Return the numbers of clients to measure."""
    if settings.clients is not None:
        return (settings.clients,)
    return (1, 4) if settings.quick else CLIENTS


def case(
    kind: str,
    clients: int,
    count: int,
    encoders: tuple[Callable[[int, int], np.ndarray], Callable[[int, int], np.ndarray]],
    servers: Mapping[str, Load],
    bodies: Mapping[str, list[bytes]],
    expected: np.ndarray,
    settings: Settings,
) -> dict[str, Any]:
    """Measure one number of clients in turns, and return the rates, the latencies and the processor times.

    The two encoders are our task with the model as loaded, and with a prepared one.
    """
    encode, prepared = encoders
    spent: dict[str, list[float]] = {name: [] for name in (TASK, PREPARED, BATCHES, *servers)}
    runs = {
        TASK: encode_all(encode, count, count, spent[TASK]),
        PREPARED: encode_all(prepared, count, count, spent[PREPARED]),
        BATCHES: encode_all(prepared, count, clients, spent[BATCHES]),
    }
    batch = Work(lambda: prepared(min(clients, count), clients))
    first = sum(run.run() for run in runs.values())
    first += sum(server.turn(bodies[name][:count], clients).seconds for name, server in servers.items())
    turns = number_of_turns(first, settings.budget, fewest=3)
    rates: dict[str, list[float]] = {name: [] for name in spent}
    latencies: dict[str, list[float]] = {name: [] for name in servers}
    of_clients: dict[str, list[float]] = {name: [] for name in servers}
    batches = []
    for times in spent.values():
        times.clear()
    for order in orders(rates, turns):
        batches.append(batch.run())
        for name in order:
            if name in runs:
                rates[name].append(count / runs[name].run())
                continue
            turn = servers[name].turn(bodies[name][:count], clients)
            check_same(name, {"embeddings": turn.embeds}, "ours", {"embeddings": expected[:count]})
            rates[name].append(count / turn.seconds)
            latencies[name] += turn.latencies
            spent[name].append(turn.server)
            of_clients[name].append(turn.clients)
    return {
        "kind": kind,
        "clients": clients,
        "inputs": count,
        "batch_seconds": batches,
        "rates": rates,
        "latencies": {name: quantiles(values) for name, values in latencies.items()},
        "processor_seconds": spent,
        "processor_seconds_of_clients": of_clients,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan,
    }


def encode_all(encode: Callable[[int, int], np.ndarray], count: int, batch: int, spent: list[float]) -> Work:
    """Return the work of encoding inputs, which appends its processor time to a list.

    Args:
        encode: encodes a number of inputs in batches of a size.
        count: the number.
        batch: the size.
        spent: receives the seconds.
    """

    def run() -> None:
        start = time.process_time()
        encode(count, batch)
        spent.append(time.process_time() - start)

    return Work(run)


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


def encoder_of(kind: str, classifier: ZeroShotClassifier, inputs: list[Any]) -> Callable[[int, int], np.ndarray]:
    """Return a function that encodes the first inputs by our task, from the same bytes that requests hold."""
    if kind == "texts":
        return lambda count, batch: classifier.encode_texts(inputs[:count], batch_size=batch)
    uris = written(kind, inputs)
    most = 32  # the default of encode_images
    return lambda count, batch: classifier.encode_images(uris[:count], batch_size=min(batch, most))


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot rates over the number of clients, beside our task's."""
    panels = {}
    for kind in INPUTS:
        some = [one for one in measurements if one["kind"] == kind]
        names = dict.fromkeys(name for one in some for name in one["rates"])
        lines = {}
        for name in names:
            points = [(one["clients"], statistics.median(one["rates"][name])) for one in some if name in one["rates"]]
            label = {
                TASK: f"encode_{kind}",
                PREPARED: f"encode_{kind}, prepared",
                BATCHES: "prepared, in batches",
                "ours": "ours, served",
            }.get(name, name)
            lines[label] = ([clients for clients, _ in points], [rate for _, rate in points])
        panels[kind.capitalize()] = ("clients", f"{kind} per second", lines)
    curves(path, panels)
