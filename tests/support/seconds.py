"""The seconds that the tests of each folder take, printed at the end of a long run."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

LONG = 1000  # the least number of tests for a table


def processor_seconds() -> float:
    """Return the processor's seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def table(reports: Iterable[pytest.TestReport]) -> list[str]:
    """Return a Markdown table: for each folder the tests, and the seconds of the clock and of the processor.

    Args:
        reports: those of the setup, the call and the teardown of each test; a teardown has the test's `processor` among
            its properties.
    """
    rows: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
    for report in reports:
        _, *folders, file = PurePath(report.nodeid.partition("::")[0]).parts
        for name in ("/".join(folders[:2]) or file, "all"):
            row = rows[name]
            row[0] += report.when == "teardown"
            row[1] += report.duration
            row[2] += sum(value for key, value in report.user_properties if key == "processor")
    ordered = sorted(rows.items(), key=lambda row: row[1][1], reverse=True)
    lines = [f"| {name} | {count:,} | {seconds:,.0f} | {used:,.0f} |" for name, (count, seconds, used) in ordered]
    return ["| folder | tests | seconds | processor |", "|---|---|---|---|", *lines]
