"""The table that ends a long run of the tests."""

from __future__ import annotations

from types import SimpleNamespace

from support.seconds import processor_seconds, table


def report(file, when, duration, *properties):
    return SimpleNamespace(nodeid=f"tests/{file}::test_it", when=when, duration=duration, user_properties=properties)


def test_folders_come_by_their_seconds_and_files_beside_them_by_name():
    reports = [
        report("core/hub/test_files.py", "setup", 0.5),
        report("core/hub/test_files.py", "call", 0.6, ("figure", "a figure")),
        report("core/hub/test_files.py", "teardown", 0.0, ("figure", "a figure"), ("processor", 3.0)),
        report("test_api.py", "teardown", 7.0, ("processor", 1.0)),
        report("core/hub/sub/test_more.py", "teardown", 0.0, ("processor", 2.0)),
    ]
    assert table(reports)[2:] == ["| all | 3 | 8 | 6 |", "| test_api.py | 1 | 7 | 1 |", "| core/hub | 2 | 1 | 5 |"]


def test_the_processors_seconds_count_children_too(run_program):
    before = processor_seconds()
    run_program("import time\nwhile time.process_time() < 0.3: pass")
    assert processor_seconds() - before > 0.2  # the kernel counts in ticks of a hundredth of a second
