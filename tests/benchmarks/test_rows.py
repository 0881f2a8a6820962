"""The rows: the work they measure, and the values they compute."""

from __future__ import annotations

import argparse
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

import checkpoints
import forward
import growth
import precision
import pytest
import run
import serving
from checkpoints import TINY
from goals import at_most
from interleaved import Case, Measurement, Ratio, Timed
from report import Report
from settings import Settings

from clip_core.configuration import CLIPConfig
from support.messages import mentions
from support.tolerances import FLOAT64_ROUNDING, ROUNDING, SHOWN

if TYPE_CHECKING:
    from pathlib import Path


def timed(stage, batch, **seconds):
    measurements = {name.replace("_", "-"): Measurement(name, [value] * 3) for name, value in seconds.items()}
    return Timed(Case(f"{stage} {batch}", stage, {}, {"batch": batch}), measurements)


FORWARD = [
    timed("images", 1, ours_torch=0.12, ours_prepared_torch=0.085, transformers_torch=0.10, onnxruntime=0.08),
    timed("images", 16, ours_torch=1.2, ours_prepared_torch=1.0, transformers_torch=1.1, onnxruntime=1.05),
    timed("texts", 16, ours_tf=1.2, transformers_tf=1.0),
]
FORWARD[1].duels["ours-prepared-torch", "matmul"] = timed(
    "images", 16, ours_prepared_torch=1.0, matmul=0.115
).measurements


def test_forward_runs_every_stage_at_every_batch_size():
    cases = forward.cases(quick=True)
    assert [(case.stage, case.facts["batch"]) for case in cases[:3]] == [("images", 1), ("images", 2), ("texts", 1)]
    assert cases[-1].inputs.keys() == {"input_ids", "attention_mask", "pixel_values"}
    assert {len(array) for array in cases[-1].inputs.values()} == {2}


def test_forward_says_which_goals_were_missed():
    goals = {goal.what: goal for goal in forward.goals(FORWARD, CLIPConfig())}
    assert goals["images 1, ours-torch over transformers 4.57.6"].measured == pytest.approx(1.2, rel=FLOAT64_ROUNDING)
    assert goals["images 1, ours-prepared-torch over transformers 4.57.6"].reached
    assert goals["images 1, ours-prepared-torch over ONNX Runtime"].limit == 1.1
    assert goals["images 16, ours-prepared-torch over ONNX Runtime"].reached
    assert not goals["texts 16, ours-tf over transformers 4.57.6"].reached
    # 16 images of 8.8 GFLOP in a second are 141 GFLOP/s, and 17.2 GFLOP in 0.115 s are 149.
    assert goals["images 16, ours-prepared-torch: share of sgemm's rate"].measured == pytest.approx(0.94, abs=SHOWN)
    (note,) = forward.notes(FORWARD, {})
    assert mentions(note, "sgemm", "2048 x 2048", "149 GFLOP/s")
    assert len(goals) == 8


def test_forward_makes_a_table_and_a_plot(tmp_path):
    text = str(forward.table(FORWARD, "images"))
    header = next(line for line in text.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in header.split("|")[2:-1]] == ["1", "16"]
    assert "| ours-torch | 120 (±0%) | 1200 (±0%) |" in text
    forward.draw([one.record() for one in FORWARD], tmp_path / "forward.png")
    assert (tmp_path / "forward.png").stat().st_size > 0


def test_forward_draws_the_ratios_of_the_rounds_to_transformers(monkeypatch):
    drawn = {}
    monkeypatch.setattr(forward, "relative_curves", lambda _path, panels, **_: drawn.update(panels))
    forward.draw([one.record() for one in FORWARD], None)
    assert drawn.keys() == {"Image features"}  # of texts there is nothing in PyTorch
    _, lines = drawn["Image features"]
    assert lines.keys() == {"clip-zoo, as loaded", "clip-zoo, prepared", "ONNX Runtime"}
    assert lines["clip-zoo, prepared"] == ([1, 16], pytest.approx([0.85, 1 / 1.1], rel=FLOAT64_ROUNDING))
    assert lines["ONNX Runtime"] == ([1, 16], pytest.approx([0.8, 1.05 / 1.1], rel=FLOAT64_ROUNDING))


@pytest.mark.parametrize("number", sorted(run.ROWS))
def test_stored_results_are_redrawn_without_measuring(monkeypatch, capsys, tmp_path, number):
    name = run.ROWS[number]
    stored = [run.RESULTS / f"{name}{suffix}" for suffix in (".json", ".md")]
    shutil.copy(stored[0], tmp_path)
    monkeypatch.setattr("sys.argv", ["run.py", "--redraw", f"--rows={number}", f"--results={tmp_path}"])
    assert run.main() == 0
    assert str(tmp_path / f"{name}.md") in capsys.readouterr().out
    for file in stored:
        assert (tmp_path / file.name).read_text() == file.read_text()
    if (run.RESULTS / f"{name}.png").exists():
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_forward_counts_the_misses_beside_those_of_equal_programs():
    sure, unsure = Ratio((1.2,) * 5), Ratio((0.9, 1.0, 1.05, 1.1))
    names = ("ours-tf over transformers", "ours-flax over transformers", "ours-prepared-torch over transformers")
    found = [at_most(name, ratio, 1.0) for name in names for ratio in (sure, unsure)]
    assert mentions(forward.beyond_the_noise(found), "2 of 4", "transformers")


def test_forward_says_of_a_miss_where_the_ratio_lies():
    told = [str(goal) for goal in forward.goals(FORWARD, CLIPConfig())]
    missed = next(line for line in told if line.startswith("images 1, ours-torch over transformers"))
    assert mentions(missed, "at most 1", 1.2, "(1.2 to 1.2)", "20%")


def test_forward_holds_every_goal_against_rounds_of_two(monkeypatch):
    one = FORWARD[0]
    workers = {name: SimpleNamespace(run=lambda: 0.5) for name in one.measurements}
    monkeypatch.setattr(forward, "time_case", lambda case, *_, **__: Timed(case, dict(one.measurements)))
    timed = forward.measured(one.case, workers, SimpleNamespace(run=lambda: 0.5), Settings(None, quick=True))
    prepared = "ours-prepared-torch"
    peers = {("ours-torch", "transformers-torch"), (prepared, "transformers-torch"), (prepared, "onnxruntime")}
    assert timed.duels.keys() == peers
    found = forward.goals([timed], CLIPConfig())
    assert [goal.measured for goal in found] == [1.0] * 3  # of the duels, where the rounds of all have 1.2 and 0.85


def test_fewer_bits_are_compared_on_the_same_inputs(tmp_path):
    checkpoints.write_random(tmp_path, CLIPConfig(**TINY))
    timed = precision.speed(tmp_path, Settings(tmp_path, quick=True))
    assert [one["case"] for one in timed][:2] == ["1 image", "16 images"]
    for one in timed:
        assert one["seconds"].keys() == precision.ways().keys()
        assert one["cosine"]["float32"] == pytest.approx(1, abs=ROUNDING)
        assert all(cosine > 0.98 for cosine in one["cosine"].values())
    assert len(precision.speed_table(timed).rows) == len(timed) * len(precision.ways())


def test_growth_names_the_slopes():
    points = [growth.Point("layers", n, "ours-torch", Measurement("ours-torch", [n / 10]), 1000 * n**2) for n in (3, 6)]
    assert growth.slope_table(points).rows == [["layers", "ours-torch", "1.00", "2.00"]]
    assert growth.table(points, "layers").columns == ["layers", "3", "6"]


def test_growth_changes_one_thing_at_a_time():
    assert growth.case("tokens per text", 16).inputs["input_ids"].shape == (8, 16)
    assert growth.case("batch of images", 2).inputs["pixel_values"].shape == (2, 3, 224, 224)
    larger = growth.case("image side, pixels", 256)
    assert (larger.inputs["pixel_values"].shape[-1], larger.options) == (256, {"interpolate_pos_encoding": True})
    layers = growth.fields("layers", 5, quick=True)
    assert {layers[tower]["num_hidden_layers"] for tower in ("text_config", "vision_config")} == {5}
    assert growth.fields("batch of texts", 5, quick=True) == TINY


def test_a_row_that_fails_is_reported_and_writes_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(forward, "report", lambda settings: 1 / 0)
    assert not run.run_row(5, options(tmp_path))
    assert "ZeroDivisionError" in capsys.readouterr().err
    monkeypatch.setattr(forward, "report", lambda settings: Report("forward", "Forward", "", quick=settings.quick))
    assert run.run_row(5, options(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forward.json", "forward.md"]


def test_one_number_of_clients_is_measured_and_replaces_no_stored_results(monkeypatch, capsys):
    given = []
    monkeypatch.setattr(serving, "report", lambda settings: given.append(settings) or Report("serving", "Serving", ""))
    monkeypatch.setattr(run, "RESULTS", None)  # a path could not be made of it
    monkeypatch.setattr("sys.argv", ["run.py", "--rows=13", "--clients=16"])
    assert run.main() == 0
    assert "Serving" in capsys.readouterr().out
    assert serving.numbers_of_clients(given[0]) == (16,)
    assert serving.numbers_of_clients(Settings(None)) == serving.CLIENTS
    monkeypatch.setattr("sys.argv", ["run.py", "--rows=13", "--clients=0"])
    with pytest.raises(SystemExit) as raised:
        run.main()
    assert raised.value.code == 2


def options(folder: Path) -> argparse.Namespace:
    return argparse.Namespace(quick=True, budget=0.0, results=folder, clients=None)
