"""GPU measurements: planning, resuming after an interruption, and reporting."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import gpu
import numpy as np
import pytest
from gpu_steps import STEPS, page, tables
from gpu_steps.comparison import first_turns
from gpu_steps.graphs import graphs
from gpu_steps.step import Job, Unit, run_program
from gpu_steps.suite import read_junit
from remote import WorkerError
from settings import UnavailableError

from support.messages import mentions
from support.tolerances import FLOAT64_ROUNDING

MINUTES_OF_A_COMMAND = 9


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


@pytest.mark.usefixtures("small_pictures")
def test_the_three_tables_have_the_rows_of_transformers_page():
    for class_name, cases in tables.CASES.items():
        assert [case.name for case in cases()] == list(page.SECONDS[class_name])


def test_every_step_ends_within_one_command(tmp_path):
    for name, seconds in gpu.plan(STEPS, Job(tmp_path)).items():
        assert 0 < seconds < 60 * MINUTES_OF_A_COMMAND, name


def measure(folder, steps, records, **options):
    saved = []
    gpu.measure(Job(folder, rehearse=True, **options), steps, records, lambda: saved.append(json.dumps(records)))
    return [json.loads(one) for one in saved]


def test_what_was_measured_is_not_measured_again(tmp_path):
    step, records = Toy(), {"toy": {"a": {"value": "old"}, "b": {"failed": "broke"}}}
    measure(tmp_path, [step], records)
    assert step.ran == ["c", "b"]  # what failed before comes last
    assert {name: record["value"] for name, record in records["toy"].items()} == {"a": "old", "b": "b", "c": "c"}


@pytest.mark.parametrize(
    ("record", "done"),
    [
        ({"value": 1}, True),
        ({"failed": "cut off"}, False),
        ({"failing": 0, "failures": []}, True),
        ({"failing": 2, "failures": ["a", "b"]}, False),
        ({"left_out": {gpu.NEEDS_PACKAGE: "no package"}}, True),
        ({"left_out": {"ours FA2": "out of memory"}}, False),
    ],
)
def test_what_failed_in_part_is_measured_again(record, done):
    assert gpu.is_done(record) is done


def test_a_unit_that_fails_keeps_nothing_from_being_measured(tmp_path):
    records = {}
    measure(tmp_path, [Toy("first", fails="b"), Toy("second", fails="abc")], records)
    assert {name: one.get("value") for name, one in records["first"].items()} == {"a": "a", "b": None, "c": "c"}
    assert "RuntimeError: b broke" in records["first"]["b"]["failed"]
    assert len(records["second"]) == 3
    told = gpu.problems(records, rehearse=False)
    assert told[0] == f"first, b failed:\n{records['first']['b']['failed']}"
    assert len(told) == 4


def test_every_unit_is_saved_before_and_after(tmp_path):
    saved = measure(tmp_path, [Toy()], {})
    assert [len(one["toy"]) for one in saved] == [1, 1, 2, 2, 3, 3]
    assert saved[2]["toy"]["b"] == {"failed": "cut off"}
    assert saved[3]["toy"]["b"]["value"] == "b"


def test_nothing_is_begun_that_may_not_end_in_time(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(gpu, "time", SimpleNamespace(monotonic=lambda: clock.now))

    class Slow(Toy):
        def run(self, job, names):
            for name, found in super().run(job, names):
                clock.now += 12.0
                yield name, found

    step, records = Slow(), {}
    measure(tmp_path, [step], records, end=33.0)
    assert step.ran == ["a", "b"]  # a third would begin after 24 s and may take 10
    clock.now, late = 0.0, Toy("late")
    measure(tmp_path, [late], {}, end=5.0)
    assert not late.ran


def test_a_report_shows_the_records_and_can_be_resumed(tmp_path):
    records = {"toy": {"a": {"value": 1}, "b": {"failed": "trace\nbroke"}}, "of another version": {"x": {"value": 2}}}
    made = gpu.written(records, [Toy()], "H100")
    assert made.notes == ["Toy, b: broke", "toy a"]
    made.write(tmp_path)
    assert "on one H100" in (tmp_path / "gpu.md").read_text()
    assert gpu.read_records(tmp_path / "gpu.json", "H100") == records
    assert gpu.read_records(tmp_path / "none.json", "H100") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu.json", "gpu.md"]


def test_a_step_that_cannot_be_reported_keeps_its_records(tmp_path):
    class Speechless(Toy):
        def describe(self, records, report):
            raise KeyError("renamed")

    made = gpu.written({"toy": {"a": {"value": 1}}}, [Speechless()], "H100")
    assert len(made.notes) == 1
    assert mentions(made.notes[0], "Toy", "KeyError", "'renamed'")
    assert made.measurements == [{"step": "toy", "unit": "a", "value": 1}]


def test_records_of_different_code_are_noted():
    made = gpu.written({"toy": {"a": {"code": "1"}, "b": {"code": "2"}}}, [Toy()], "H100")
    assert mentions(made.notes[0], 2, "code")


def test_records_of_another_gpu_are_not_mixed_in(tmp_path, capsys):
    gpu.written({"toy": {"a": {"value": 1}}}, [Toy()], "A10G").write(tmp_path)
    assert gpu.read_records(tmp_path / "gpu.json", "H100") == {}
    assert "A10G" in capsys.readouterr().out


def test_a_damaged_report_is_put_aside(tmp_path, capsys):
    (tmp_path / "gpu.json").write_text('{"measurements": [')
    assert gpu.read_records(tmp_path / "gpu.json", "H100") == {}
    assert "gpu.broken.json" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.broken.json"]


def test_of_two_reports_the_better_record_is_kept():
    old = {"toy": {"a": {"value": 1}, "b": {"failed": "broke"}, "c": {"value": 1}}}
    new = {"toy": {"a": {"value": 2}, "b": {"value": 2}, "c": {"failed": "cut off"}}, "next": {"a": {"failed": "x"}}}
    assert gpu.merged(old, new) == {
        "toy": {"a": {"value": 2}, "b": {"value": 2}, "c": {"value": 1}},
        "next": {"a": {"failed": "x"}},
    }


def test_a_program_that_hangs_is_ended_with_what_it_started():
    program = "import subprocess, sys; print('begun', flush=True); subprocess.run(['sleep', '600'])"
    code, printed = run_program([sys.executable, "-c", program], 5.0)
    assert code is None
    assert printed.startswith("begun")
    assert run_program([sys.executable, "-c", "print('out'); raise SystemExit(3)"], 60.0) == (3, "out\n")


def test_a_contestant_that_breaks_in_its_first_turn_is_left_out():
    def breaks():
        raise WorkerError("graph capture failed")

    runners = {"good": SimpleNamespace(run=lambda: 0.5), "bad": SimpleNamespace(run=breaks)}
    assert first_turns(runners) == (0.5, {"bad": "graph capture failed"})
    assert list(runners) == ["good"]


@pytest.mark.usefixtures("small_pictures")
def test_padded_texts_are_padded():
    (case,) = tables.padded_cases()
    lengths = case.inputs["attention_mask"].sum(-1)
    assert (lengths.min(), lengths.max(), len(set(lengths))) == (5, 77, 64)
    ends = case.inputs["input_ids"][np.arange(64), lengths - 1]
    assert set(ends) == {49407}


def record(step, unit, **seconds):
    targets = {name.replace("_", " "): {"seconds": [value] * 3} for name, value in seconds.items()}
    shape = {"case": unit, "stage": "tower", "batch": 1, "targets": targets, "versions": {}}
    return {step: {unit: shape | {"left_out": {}, "memory": dict.fromkeys(targets, 7_000_000)}}}


def test_a_table_stands_beside_the_pages_figures():
    found = record("vision", "1 image", ours_eager=0.002, ours_FA2=0.003, transformers_5_eager=0.001)
    made = gpu.written(found, STEPS, "H100")
    times, memory = made.tables
    cells = dict(zip(times.columns, times.rows[0], strict=True))
    assert (cells["ours eager"], cells["transformers 5 FA2"], cells["A10G FA2"]) == ("2 (±0%)", "", "13")
    assert dict(zip(memory.columns, memory.rows[0], strict=True))["ours FA2"] == "7"
    assert [(goal.measured, goal.reached) for goal in made.goals] == [
        (2.0, False),
        (pytest.approx(1.5, rel=FLOAT64_ROUNDING), False),
    ]


def test_the_better_graph_has_to_be_three_times_as_fast():
    found = record("graphs-vision", "1 image", transformers_5_sdpa=6.0, ours_graph=3.0, ours_compiled=1.5)
    (goal,) = gpu.written(found, STEPS, "H100").goals
    assert (goal.measured, goal.limit, goal.reached) == (4.0, 3.0, True)


def test_large_batches_are_held_against_the_rate_of_the_same_round():
    found = record("large", "256 images", torch=2.0, torch_compiled=1.0, flax=4.0, matmul=0.5)
    found["large"]["256 images"] |= {"flops": 6e12, "yardstick_flops": 4e12}
    made = gpu.written(found, STEPS, "H100")
    assert made.tables[0].rows[1] == ["torch compiled, 256 images", "6", "8", "75%"]
    assert [(goal.measured, goal.reached) for goal in made.goals] == [
        (0.75, True),
        (pytest.approx(0.1875, rel=FLOAT64_ROUNDING), False),
    ]


def test_what_a_rehearsal_lacks_is_a_problem():
    found = record("text", "4 texts", ours_eager=1.0)
    found["text"]["4 texts"]["left_out"] = {gpu.NEEDS_PACKAGE: "no package", "ours FA2": "broke"}
    assert gpu.problems(found, rehearse=True) == ["text, 4 texts lacks ours FA2:\nbroke"]
    assert gpu.problems(found, rehearse=False) == []


def test_small_batches_alone_are_replayed_as_graphs(small_pictures, tmp_path):
    names = [unit.name for class_name in tables.CASES for unit in graphs(class_name).units(Job(tmp_path))]
    assert names == ["4 texts", "1 image", "1 image, 4 texts"]


def test_pytests_results_are_counted(tmp_path):
    (tmp_path / "found.xml").write_text(
        "<testsuites><testsuite><testcase name='one'/><testcase name='two'><failure message='far&#10;off'/></testcase>"
        "<testcase name='three'><skipped/></testcase><testcase name='four'><error/></testcase></testsuite></testsuites>"
    )
    counted = {"passed": 1, "failing": 2, "skipped": 1, "failures": ["two: far\noff", "four: error"]}
    assert read_junit(tmp_path / "found.xml") == counted


def test_a_file_whose_tests_fail_misses_its_goal():
    found = {"tests": {"test_flax.py": {"passed": 0, "failing": 2, "skipped": 0, "failures": ["a\nfar", "b"]}}}
    made = gpu.written(found, STEPS, "H100")
    assert [goal.reached for goal in made.goals] == [False, False]
    assert "missed by 2" in str(made.goals[0])
    assert made.notes == ["test_flax.py: far", "test_flax.py: b"]


def test_without_a_gpu_nothing_is_measured_and_that_is_not_a_failure(monkeypatch, capsys, tmp_path):
    cuda = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, __version__="9.9"))
    with pytest.raises(UnavailableError, match=r"9\.9"):
        gpu.device_name()
    monkeypatch.setattr(gpu, "use_checkout", lambda bundle: None)
    assert gpu.main(["--results", str(tmp_path)]) == 0
    assert "PyTorch 9.9" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_results_of_another_gpu_are_not_overwritten(monkeypatch, capsys, tmp_path):
    gpu.written({"toy": {"a": {"value": 1}}}, [Toy()], "A10G").write(tmp_path)
    before = (tmp_path / "gpu.json").read_text()
    monkeypatch.setattr(gpu, "use_checkout", lambda bundle: None)
    with pytest.raises(SystemExit):
        gpu.main(["--rehearse", "--results", str(tmp_path)])
    assert "--results" in capsys.readouterr().err
    assert (tmp_path / "gpu.json").read_text() == before


def test_a_report_to_resume_has_to_be_there(tmp_path, capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--resume", str(tmp_path / "none.json")])
    assert "none.json" in capsys.readouterr().err


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
