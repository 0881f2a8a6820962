"""The corpus of the fuzzer, replayed without it: what it has found stays fixed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fuzz import run
from fuzz.folders import folder
from fuzz.run import NAMES
from fuzz.targets import TARGETS, edited, text

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_read_or_refused(name):
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in [*inputs]:
        try:
            TARGETS[name](path.read_bytes())
        except BaseException as error:
            error.add_note(f"the input is {path}")
            raise
    TARGETS[name](b"")


def test_the_corpus_stays_small():
    assert {path.name for path in CORPUS.iterdir()} == set(NAMES) == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 200_000


def test_a_fault_would_be_found(monkeypatch):
    """Each target must fail when the library does."""
    monkeypatch.setattr("fuzz.targets.open_checkpoint", lambda path: {}[path])
    monkeypatch.setattr("fuzz.targets.decode_image", lambda *_, **__: 1 / 0)
    monkeypatch.setattr("fuzz.targets.hf_words", lambda _: ["another text"])
    monkeypatch.setattr("fuzz.targets.CLIPConfig.from_pretrained", lambda _: {}["config"])
    monkeypatch.setattr("fuzz.targets.CLIPImageProcessor.from_pretrained", lambda _: {}["processor"])
    monkeypatch.setattr("fuzz.targets.CLIPTokenizer.from_pretrained", lambda _: {}["tokenizer"])
    for reader in ("pairs", "read_labels", "read_templates"):
        monkeypatch.setattr(f"fuzz.datasets.{reader}", lambda path: {}[path])
    for name, target in TARGETS.items():
        seed = min((CORPUS / name).iterdir(), key=lambda path: path.stat().st_size).read_bytes()
        with pytest.raises((KeyError, ZeroDivisionError, AssertionError)):
            target(seed if name != "text" else b"\0a cat")


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (0, "stat::number_of_executed_units: 1234", 0),
        (77, "stat::number_of_executed_units: 1234", 1),  # a finding
        (0, "", 1),
        (1, "ModuleNotFoundError: No module named 'atheris'", 1),
    ],
)
def test_only_a_run_without_findings_ends_well(tmp_path, monkeypatch, capsys, code, said, expected):
    def ran(_, *, stdout, **__):
        stdout.write(said.encode())
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(run, "BUILD", tmp_path)
    monkeypatch.setattr(run.subprocess, "run", ran)
    assert run.main(["text"]) == expected
    assert ("1,234" in capsys.readouterr().out) is ("1234" in said)


def test_edits_reach_every_value():
    valid = {"a": [1, {"b": 2}]}
    trees = {
        str(edited(valid, bytes([place, kind, 0, low]))) for place in range(5) for kind in range(5) for low in range(60)
    }
    assert {"{}", "{'a': [1]}", "{'a': [1, {}]}", "{'a': [1, {'b': [2]}]}", "{'a': None}"} <= trees
    assert valid == {"a": [1, {"b": 2}]}
    assert text(b"\0a cat") is None
    assert folder("a").is_dir()
