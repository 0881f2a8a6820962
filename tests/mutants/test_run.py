"""The runner of mutants: results that outlast an interruption, and modules that are imported with changed source."""

from __future__ import annotations

import importlib
import sys

from mutants.mutations import mutations
from mutants.run import Results
from mutants.worker import DIED, KILLED, SURVIVED, Mutated


def test_an_interrupted_run_continues_where_it_ended(tmp_path):
    path = tmp_path / "results"
    first, second, third = mutations("x = 1 + 2")
    codes = iter([KILLED, SURVIVED, DIED])
    results = Results(path)
    assert [results.of("tf", "text", one, lambda *_: next(codes)) for one in (first, second)] == [KILLED, SURVIVED]
    results = Results(path)
    assert [results.of("tf", "text", one, lambda *_: next(codes)) for one in (first, second, third)] == [
        KILLED,
        SURVIVED,
        DIED,
    ]
    assert len(path.read_text().splitlines()) == 3


def test_results_belong_to_one_backend_file_and_source(tmp_path):
    path = tmp_path / "results"
    (one,), (changed,) = mutations("x = 1"), mutations("y = 1")
    Results(path).of("tf", "text", one, lambda *_: KILLED)
    for backend, file, mutation in [("flax", "text", one), ("tf", "vision", one), ("tf", "text", changed)]:
        assert Results(path).of(backend, file, mutation, lambda *_: SURVIVED) == SURVIVED


def test_a_mutated_module_is_imported_in_place_of_the_original(tmp_path, monkeypatch):
    (tmp_path / "mutated_here").mkdir()
    (tmp_path / "mutated_here" / "number.py").write_text("value = 1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [Mutated("mutated_here.number", "value = 2"), *sys.meta_path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    assert importlib.import_module("mutated_here.number").value == 2
