"""The command clip-zoo verify: its table, its JSON, its report, and its exit codes."""

from __future__ import annotations

import json
import re
from functools import partial

import pytest
from rich.console import Console

from converters.verification import verify as proof
from support.checkpoints import save_checkpoint
from support.configs import tiny_config
from support.limits import largest_file
from support.messages import mentions

BOTH = ["--backend", "reference", "torch"]


@pytest.fixture
def one_process(monkeypatch):
    """Run the frameworks in this process, where PyTorch starts once for all tests."""
    monkeypatch.setattr(proof, "verify", partial(proof.verify, own_processes=False))


@pytest.fixture
def faulty(model):
    """The same weights, with another activation in the text tower's configuration."""
    folder = model.parent / "faulty"
    save_checkpoint(folder, tiny_config({"hidden_act": "quick_gelu"}))
    return folder


def test_the_table_has_a_row_for_each_group_and_ends_in_the_verdict(run, model):
    code, out, _ = run("verify", model, *BOTH, "--grad", "--train-step", "--explain")
    assert code == 0
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0].startswith(f"CLIPModel in {model}: reference, torch, ")
    assert lines[0].endswith(", float32")
    assert lines[1:3] == ["pixel_values: drawn", "input_ids: drawn"]
    groups = ["pixels", "token ids", "embeddings", "hidden states", "attentions", "pooled", "projected"]
    groups += ["unit-norm embeddings", "logits", "loss", "explanations", "finite differences"]
    groups += ["gradients", "updated parameters"]
    rows = [line for line in lines if line.endswith("pass")]
    assert [next(group for group in groups if row.startswith(group)) for row in rows] == groups
    assert lines[-1].endswith("stages agree.")


@pytest.mark.usefixtures("one_process")
def test_all_shows_every_stage(run, model):
    code, out, _ = run("verify", model, *BOTH, "--all")
    assert code == 0
    for stage in ("vision.layers.0.attention", "text.layers.2", "attention_mask", "logits_per_image"):
        row = re.compile(rf"[^:]* {re.escape(stage)} +reference / torch +\d")  # a colon follows the name of a variant
        assert sum(row.match(line) is not None for line in out.splitlines()) == 1


@pytest.mark.usefixtures("one_process")
def test_names_are_whole_at_any_width(run, model, monkeypatch):
    rows = [line.split() for line in run("verify", model, *BOTH, "--grad")[1].splitlines() if line.endswith("pass")]
    assert any(word.startswith("gradient.") for row in rows for word in row)
    monkeypatch.setattr("converters.commands.verify.console", lambda: Console(width=60, highlight=False))
    lines = run("verify", model, *BOTH, "--grad")[1].splitlines()
    heading = next(place for place, line in enumerate(lines) if "absolute" in line)
    narrow = list(zip(lines[heading + 1 : -1 : 2], lines[heading + 2 : -1 : 2], strict=True))
    assert max(len(line) for line, _ in narrow) <= 60
    words = [[*name.replace(",", "").split(), *row.split()] for row, name in narrow]
    assert [sorted(row) for row in words] == [sorted(row) for row in rows]


@pytest.mark.usefixtures("one_process")
def test_a_failure_names_the_first_stage_and_exits_with_1(run, model, faulty):
    code, out, _ = run("verify", faulty, "--against", model, *BOTH)
    assert code == 1
    assert "FAIL" in out
    (setting,) = [line for line in out.splitlines() if "text_config.hidden_act" in line]
    assert mentions(setting, "configuration")
    assert setting.index("quick_gelu") < setting.rindex(" gelu")
    pairs = ("reference and against reference", "torch and against torch")
    assert mentions(out.splitlines()[-1], "text.layers.0:", *pairs)


@pytest.mark.usefixtures("one_process")
def test_json_holds_the_same(run, model, faulty):
    code, out, _ = run("verify", model, "--against", faulty, "--backend", "reference", "torch", "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["passed"], found["first_drift"]) == (False, "text.layers.0")
    assert found["configuration"] == {"text_config.hidden_act": ["gelu", "quick_gelu"]}
    row = found["comparisons"][0]
    assert (row["stage"], row["pair"], row["passed"]) == ("pixel_values", ["reference", "torch"], True)


@pytest.mark.usefixtures("one_process")
def test_a_report_is_written_beside_the_table(run, model, tmp_path):
    report = tmp_path / "report.html"
    code, out, _ = run("verify", model, *BOTH, "--report", report, "--dtype", "bf16")
    assert code == 0
    assert "bfloat16" in out
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--backend", "torch", "caffe"], ["caffe", "reference"]),
        (["--backend", "torch"], ["torch", "not enough"]),
        (["--dtype", "fp8"], ["--dtype", "fp8", "float32"]),
        (["--against", "./gone"], ["--against ./gone"]),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(run, model, arguments, named):
    code, out, err = run("verify", model, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert mentions(err, *named)


def test_explanations_of_one_tower_are_refused(run, tmp_path):
    save_checkpoint(tmp_path / "text", tiny_config(), "CLIPTextModel")
    code, out, err = run("verify", tmp_path / "text", *BOTH, "--explain")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert mentions(err, "--explain", "CLIPModel", "CLIPTextModel")


def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr("converters.verification.verify.verify", None)
    (tmp_path / "file").write_text("")
    for target in (tmp_path, tmp_path / "file", tmp_path / "file" / "report.html"):
        code, out, err = run("verify", model, *BOTH, "--report", target)
        assert (code, out) == (2, "")
        assert err.startswith(f"clip-zoo: --report {target}")
    assert (tmp_path / "file").read_text() == ""


def test_a_full_disk_of_temporary_files_is_told_with_their_folder(run, model, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with monkeypatch.context() as patches, largest_file(4096):
        patches.setattr("tempfile.tempdir", str(scratch))
        code, out, err = run("verify", model, "--backend", "reference", "--against", model)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("clip-zoo: ")]
    assert mentions(line, scratch, "TMPDIR")
    assert not mentions(line, "requested")
    assert list(scratch.iterdir()) == []


def test_a_folder_of_temporary_files_that_does_not_exist(run, model, tmp_path, monkeypatch):
    with monkeypatch.context() as patches:
        patches.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "gone")])
        patches.setattr("tempfile.tempdir", None)
        code, out, err = run("verify", model, *BOTH)
    assert (code, out) == (2, "")
    assert mentions(err, "TMPDIR", str(tmp_path / "gone"))
