"""Rates, latencies and processor times of servers under load, beside those of the same work by our tasks.

A case is a dict of `serving.case`: one kind of input and one number of clients.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from goals import at_least, at_most
from machine import threads
from report import Table, milliseconds

if TYPE_CHECKING:
    from goals import Goal

RATE, BATCH_TIMES, JUDGED = 0.95, 2.0, 16  # the targets, and the number of clients that they are for
# All inputs in one call, with the model as loaded and prepared; and prepared, as many at a time as there are clients.
TASK, PREPARED, BATCHES = "task", "prepared task", "prepared task in batches"


def share(one: dict[str, Any], name: str, task: str) -> float:
    """Return a server's rate relative to a task's: the median of the rounds."""
    return statistics.median(ours / other for ours, other in zip(one["rates"][name], one["rates"][task], strict=True))


def share_alone(one: dict[str, Any], name: str, task: str) -> float:
    """Return that share if the clients ran elsewhere: their processor time, spread over all cores, is taken out."""
    seconds = [one["inputs"] / rate for rate in one["rates"][name]]
    left = [
        all_ - own / threads() for all_, own in zip(seconds, one["processor_seconds_of_clients"][name], strict=True)
    ]
    rates = {**one["rates"], name: [one["inputs"] / one_turn for one_turn in left]}
    return share({**one, "rates": rates}, name, task)


def bound(one: dict[str, Any], name: str, task: str) -> float:
    """Return the share that a server would reach if it and its clients kept all cores busy without a pause."""
    return cost(one, task) / (cost(one, name) + cost(one, name, "processor_seconds_of_clients"))


def cost(one: dict[str, Any], name: str, of: str = "processor_seconds") -> float:
    """Return the processor time of an input in seconds: the median of the rounds."""
    return statistics.median(one[of][name]) / one["inputs"]


def batch_times(one: dict[str, Any], name: str) -> float:
    """Return the 99th percentile of a server's latencies in batch times."""
    return one["latencies"][name]["p99"] / statistics.median(one["batch_seconds"])


def rates_table(kind: str, cases: list[dict[str, Any]]) -> Table:
    """Return the table of rates and latencies of texts or images."""
    rows = []
    for one in (case for case in cases if case["kind"] == kind):
        for name, times in one["latencies"].items():
            rows.append(
                [
                    row_name(one, name),
                    f"{statistics.median(one['rates'][name]):.1f}",
                    *(f"{share(one, name, task):.2f}" for task in (TASK, PREPARED, BATCHES)),
                    milliseconds_of(times["p50"]),
                    milliseconds_of(times["p99"]),
                    milliseconds_of(statistics.median(one["batch_seconds"])),
                    f"{batch_times(one, name):.2f}",
                ]
            )
    columns = [
        "per second",
        "of the task's rate",
        "of the prepared one's",
        "in batches",
        "p50, ms",
        "p99, ms",
        "batch, ms",
        "p99 in batch times",
    ]
    return Table([kind, *columns], rows)


def costs_table(kind: str, cases: list[dict[str, Any]]) -> Table:
    """Return the table of processor times of texts or images, and the shares that follow from them."""
    rows = []
    for one in (case for case in cases if case["kind"] == kind):
        for name in one["latencies"]:
            spent = [cost(one, task) for task in (TASK, PREPARED, BATCHES, name)]
            rows.append(
                [
                    row_name(one, name),
                    *(f"{1e3 * seconds:.2f}" for seconds in (*spent, cost(one, name, "processor_seconds_of_clients"))),
                    *(f"{bound(one, name, task):.2f}" for task in (TASK, BATCHES)),
                    *(f"{share_alone(one, name, task):.2f}" for task in (TASK, BATCHES)),
                ]
            )
    columns = ["task, ms", "prepared, ms", "in batches, ms", "server, ms", "clients, ms", "bound", "bound in batches"]
    columns += ["without clients", "without clients, in batches"]
    return Table([kind, *columns], rows, title=f"Processor time for each of the {kind}")


def row_name(one: dict[str, Any], name: str) -> str:
    """Return the first cell of a row."""
    return f"{one['clients']} client{'s' if one['clients'] > 1 else ''}, {name}"


def milliseconds_of(seconds: float) -> str:
    """Format a latency."""
    return milliseconds(seconds, 0).partition(" ")[0]


def goals(cases: list[dict[str, Any]]) -> list[Goal]:
    """Return the targets: the rate and the slowest requests at 16 clients."""
    found = []
    for one in cases:
        if one["clients"] == JUDGED:
            what = f"{one['kind']}, {JUDGED} clients"
            why = f"the processor times allow {bound(one, 'ours', TASK):.2f}"
            found.append(at_least(f"{what}: share of the task's rate", share(one, "ours", TASK), RATE, why=why))
            found.append(at_most(f"{what}: p99 in batch times", batch_times(one, "ours"), BATCH_TIMES))
    return found
