from __future__ import annotations

import os
import sqlite3
import time

import pytest

from clip_core.tasks.search.filters import parse_conditions, stored_path
from support.messages import naming

ROWS = [
    ("/photos/a.jpg", 999, "2023-12-31T23:59:59"),
    ("/photos/2024/'b.jpg", 1000, "2024-01-01T00:00:00"),
    ("/photos/2024/c.jpg", 2_000_000, "2024-06-30T12:00:00"),
    ("/photos/2024-raw/d.jpg", 2_000_001, "2025-01-01T00:00:00"),
]


def meeting(*texts: str) -> str:
    """Return the last letters before ".jpg" of the rows that meet all conditions."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE images (path BLOB, size INTEGER, taken TEXT)")
    database.executemany("INSERT INTO images VALUES (?, ?, ?)", [(os.fsencode(path), *rest) for path, *rest in ROWS])
    conditions = parse_conditions(texts)
    sql = " AND ".join(condition.sql for condition in conditions)
    values = [value for condition in conditions for value in condition.values]
    found = database.execute(f"SELECT path FROM images WHERE {sql} ORDER BY path", values)  # noqa: S608
    return "".join(sorted(os.fsdecode(path)[-5] for (path,) in found.fetchall()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("folder=/photos", "abcd"),
        ("folder = /photos/2024/", "bc"),
        ("folder!=/photos/2024", "ad"),
        ("folder=/photos/../photos/2024", "bc"),
        ("date=2024", "bc"),
        ("date!=2024", "ad"),
        ("date>2024", "d"),
        ("date>=2024", "bcd"),
        ("date<2024-06", "ab"),
        ("date<=2024-06", "abc"),
        ("date=2024-06-30T12:00", "c"),
        ("size<1kB", "a"),
        ("size<=1000", "ab"),
        ("size=2MB", "c"),
        ("size>1.5MB", "cd"),
        ("size>1GiB", ""),
        ("size<99999999999GB", "abcd"),  # more than SQLite's integers
        (f"size>={'9' * 400}", ""),  # more than a float
        ("folder=~nobody-of-this-name", ""),
    ],
)
def test_a_condition_selects_rows(text, expected):
    assert meeting(text) == expected


def test_all_conditions_hold():
    assert meeting("folder=/photos/2024", "size>1MB") == "c"


@pytest.mark.parametrize(
    "text", ["?", "size", "owner=me", "size~3", "size>many", "date=2024-13", "date=24", "folder<a"]
)
def test_anything_else_is_quoted(text):
    with pytest.raises(ValueError, match=naming(text)):
        parse_conditions([text])


MANY = 200_000


@pytest.mark.parametrize(
    "text",
    [
        "size<" + " " * MANY,
        "folder=" + "\n" * MANY,
        " " * MANY + "size",
        "size" + " " * MANY + "?",
        "size<" + "1" + " " * MANY + "?",
        "size<" + "9" * MANY + "?",
        "a" * MANY,
        "a" * MANY + "=1",
        "date=" + "2" * MANY,
        "?" * MANY,
    ],
    ids=range(10),
)
def test_a_long_text_is_refused_at_once_in_a_short_line(text):
    start = time.process_time()
    with pytest.raises(ValueError, match="condition|expected") as refusal:
        parse_conditions([text])
    assert time.process_time() - start < 1  # in time that grows with the square of its length, minutes
    assert len(str(refusal.value)) < 400
    assert "\n" not in str(refusal.value)


def test_a_value_is_never_sql():
    (condition,) = parse_conditions(["folder='; DROP TABLE images; --"])
    assert "DROP" not in condition.sql
    assert meeting("folder='; DROP TABLE images; --") == ""


def test_a_stored_path_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stored_path("a/../b.jpg") == os.fsencode(tmp_path / "b.jpg")
