"""The measurements on a GPU: what is planned, what is kept when they are cut off, and what is made of them."""

from __future__ import annotations

import argparse
import sys
from types import SimpleNamespace

import gpu
import numpy as np
import pytest
import run
from gpu_steps import STEPS, page, tables
from gpu_steps.graphs import graphs
from gpu_steps.step import Job, Unit
from gpu_steps.suite import read_junit
from settings import Settings, UnavailableError

MINUTES_OF_A_COMMAND = 10


@pytest.fixture
def small_pictures(monkeypatch):
    monkeypatch.setattr("checkpoints.pictures", lambda batch, size=2: np.zeros((batch, 3, size, size), np.float32))


class Toy:
    """A step of three units, of which one may fail."""

    title = "Toy"
    start_seconds = 1.0

    def __init__(self, name="toy", fails=()):
        self.name, self.fails, self.ran = name, fails, []

    def units(self, job):
        return [Unit(name, 10.0) for name in "abc"]

    def run(self, job, names):
        for name in names:
            if name in self.fails:
                raise RuntimeError(f"{name} broke")
            self.ran.append(name)
            yield name, {"value": name}

    def describe(self, records, report):
        report.notes.append(f"{self.name} {','.join(records)}")


def job(folder):
    return Job(folder, rehearse=True)


def options(folder):
    return argparse.Namespace(quick=True, budget=0.0, results=folder)


@pytest.mark.usefixtures("small_pictures")
def test_the_three_tables_have_the_rows_of_transformers_page():
    for class_name, cases in tables.CASES.items():
        assert [case.name for case in cases()] == list(page.SECONDS[class_name])


def test_every_step_ends_within_one_command(tmp_path):
    for name, seconds in gpu.plan(STEPS, Job(tmp_path)).items():
        assert 0 < seconds < 60 * MINUTES_OF_A_COMMAND, name


def test_what_was_measured_is_not_measured_again(tmp_path):
    step, records = Toy(), {"toy": {"a": {"value": "old"}, "b": {"failed": "broke"}}}
    assert list(gpu.measure(job(tmp_path), [step], records)) == [("toy", "b"), ("toy", "c")]
    assert step.ran == ["b", "c"]
    assert {name: record["value"] for name, record in records["toy"].items()} == {"a": "old", "b": "b", "c": "c"}


def test_a_step_that_fails_keeps_what_it_has_and_the_next_is_run(tmp_path):
    records = {}
    done = list(gpu.measure(job(tmp_path), [Toy("first", fails="b"), Toy("second")], records))
    assert done == [("first", "a"), ("first", "b"), ("second", "a"), ("second", "b"), ("second", "c")]
    assert "RuntimeError: b broke" in records["first"]["b"]["failed"]
    assert "c" not in records["first"]
    assert gpu.problems(records, rehearse=False) == [f"first, b failed:\n{records['first']['b']['failed']}"]


def test_nothing_is_begun_that_may_not_end_in_time(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: clock.now)
    step, records = Toy(), {}
    for _ in gpu.measure(job(tmp_path), [step], records, seconds=33.0):
        clock.now += 12.0
    assert step.ran == ["a", "b"]  # a third would begin after 24 s and may take 10
    late = Toy("late")
    assert not list(gpu.measure(job(tmp_path), [late], records, seconds=5.0))
    assert not late.ran


def test_a_report_tells_what_is_recorded_and_can_be_resumed(tmp_path):
    records = {"toy": {"a": {"value": 1}, "b": {"failed": "trace\nbroke"}}}
    made = gpu.written(records, [Toy()], "H100")
    assert made.notes == ["toy a", "Toy, b failed: broke"]
    made.write(tmp_path)
    assert "on one H100" in (tmp_path / "gpu.md").read_text()
    assert gpu.read_records(tmp_path / "gpu.json", "H100") == records
    assert gpu.read_records(tmp_path / "none.json", "H100") == {}


def test_records_of_another_gpu_are_not_mixed_in(tmp_path, capsys):
    gpu.written({"toy": {"a": {"value": 1}}}, [Toy()], "A10G").write(tmp_path)
    assert gpu.read_records(tmp_path / "gpu.json", "H100") == {}
    assert "A10G" in capsys.readouterr().out


def record(step, unit, **seconds):
    targets = {name.replace("_", " "): {"seconds": [value] * 3} for name, value in seconds.items()}
    shape = {"case": unit, "stage": "tower", "batch": 1, "targets": targets, "versions": {}}
    return {step: {unit: shape | {"left_out": {}, "memory": dict.fromkeys(targets, 7_000_000)}}}


def test_a_table_stands_beside_the_pages_figures():
    found = record("vision", "1 picture", ours_eager=0.002, ours_FA2=0.003, transformers_5_eager=0.001)
    made = gpu.written(found, STEPS, "H100")
    times, memory = made.tables
    cells = dict(zip(times.columns, times.rows[0], strict=True))
    assert (cells["ours eager"], cells["transformers 5 FA2"], cells["A10G FA2"]) == ("2 (±0%)", "", "13")
    assert dict(zip(memory.columns, memory.rows[0], strict=True))["ours FA2"] == "7"
    assert [(goal.measured, goal.reached) for goal in made.goals] == [(2.0, False), (pytest.approx(1.5), False)]


def test_the_better_graph_has_to_be_three_times_as_fast():
    found = record("graphs-vision", "1 picture", transformers_5_sdpa=6.0, ours_graph=3.0, ours_compiled=1.5)
    (goal,) = gpu.written(found, STEPS, "H100").goals
    assert (goal.measured, goal.limit, goal.reached) == (4.0, 3.0, True)


def test_large_batches_are_held_against_the_rate_of_the_same_round():
    found = record("large", "256 pictures", torch=2.0, torch_compiled=1.0, flax=4.0, matmul=0.5)
    found["large"]["256 pictures"] |= {"flops": 6e12, "yardstick_flops": 4e12}
    made = gpu.written(found, STEPS, "H100")
    assert made.tables[0].rows[1] == ["torch compiled, 256 pictures", "6", "8", "75%"]
    assert [(goal.measured, goal.reached) for goal in made.goals] == [(0.75, True), (pytest.approx(0.1875), False)]


def test_what_a_rehearsal_lacks_is_a_problem():
    found = record("text", "4 texts", ours_eager=1.0)
    found["text"]["4 texts"]["left_out"] = {gpu.NEEDS_PACKAGE: "no package", "ours FA2": "broke"}
    assert gpu.problems(found, rehearse=True) == ["text, 4 texts lacks ours FA2:\nbroke"]
    assert gpu.problems(found, rehearse=False) == []


def test_small_batches_alone_are_replayed_as_graphs(small_pictures, tmp_path):
    names = [unit.name for class_name in tables.CASES for unit in graphs(class_name).units(Job(tmp_path))]
    assert names == ["4 texts", "1 picture", "1 picture, 4 texts"]


def test_pytests_results_are_counted(tmp_path):
    (tmp_path / "found.xml").write_text(
        "<testsuites><testsuite><testcase name='one'/><testcase name='two'><failure message='far&#10;off'/></testcase>"
        "<testcase name='three'><skipped/></testcase><testcase name='four'><error/></testcase></testsuite></testsuites>"
    )
    counted = {"passed": 1, "failing": 2, "skipped": 1, "failures": ["two: far", "four: error"]}
    assert read_junit(tmp_path / "found.xml") == counted


def test_without_a_gpu_nothing_is_measured_and_it_is_no_failure(monkeypatch, capsys, tmp_path):
    cuda = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, __version__="9.9"))
    with pytest.raises(UnavailableError, match=r"9\.9"):
        gpu.report(Settings(tmp_path))
    assert run.run_row(8, options(tmp_path))
    assert "Row 8: no CUDA device" in capsys.readouterr().out
    monkeypatch.setattr(gpu, "use_checkout", lambda bundle: None)
    assert gpu.main(["--results", str(tmp_path)]) == 0
    assert "PyTorch 9.9" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_an_unknown_step_is_refused_by_name(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "use_checkout", lambda bundle: None)
    with pytest.raises(SystemExit):
        gpu.main(["--steps", "text,graph"])
    assert "'graph'" in capsys.readouterr().err


def test_the_bundle_is_found_by_what_is_started(tmp_path, monkeypatch):
    import zipfile

    with zipfile.ZipFile(tmp_path / "carried-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried_package.py", "answer = 42")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "already/there")
    gpu.use_checkout(tmp_path)
    import carried_package

    assert carried_package.answer == 42
    assert gpu.os.environ["PYTHONPATH"].split(gpu.os.pathsep)[-1] == "already/there"
    assert gpu.os.environ["PYTHONPATH"].count("gpu-bundle-") == 1
