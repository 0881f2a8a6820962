"""Backends are found by name, and a missing framework is named."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from clip_core import backends
from support.messages import naming


@pytest.fixture
def installed(monkeypatch):
    """A plug-in of another distribution, and one whose framework is missing."""
    points = [
        EntryPoint("fourth", "builtins:dict", backends.GROUP),
        EntryPoint("broken", "a_framework_that_is_missing:backend", backends.GROUP),
    ]
    monkeypatch.setattr(backends, "entry_points", lambda group: [p for p in points if p.group == group])
    monkeypatch.setattr(backends, "_declared", {})


def test_our_own_is_installed():
    assert "torch" in backends.backend_names()
    assert backends.load_backend("torch").load.__module__ == "clip_torch.backend"


def test_a_plug_in_is_found(installed):
    assert backends.backend_names() == ["broken", "fourth"]
    assert backends.load_backend("fourth") is dict


def test_one_that_a_package_declares_is_found_and_an_installed_one_takes_precedence(installed):
    backends.declare_backend("fifth", "builtins:list")
    backends.declare_backend("fourth", "builtins:set")
    assert backends.backend_names() == ["broken", "fifth", "fourth"]
    assert backends.load_backend("fifth") is list
    assert backends.load_backend("fourth") is dict


def test_an_unknown_name_is_told_the_known_ones(installed):
    with pytest.raises(ValueError, match=naming("'tensorflow'", "broken", "fourth")):
        backends.load_backend("tensorflow")


def test_a_missing_framework_is_named_with_the_command_that_installs_it(installed):
    with pytest.raises(ImportError, match=naming("pip install 'a_framework_that_is_missing'")):
        backends.load_backend("broken")


@pytest.mark.parametrize("error", ["ValueError", "OSError", "ImportError", "RuntimeError"])
def test_a_framework_that_fails_to_import_is_not_a_missing_one(monkeypatch, tmp_path, error):
    (tmp_path / "a_broken_framework.py").write_text(f"raise {error}('numpy.dtype size changed')")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("odd", "a_broken_framework:backend", backends.GROUP)
    monkeypatch.setattr(backends, "entry_points", lambda group: [point])
    with pytest.raises(backends.BrokenLibraryError, match=naming("'odd'", error, "numpy.dtype size changed")):
        backends.load_backend("odd")
