"""The backend that runs a model when none is named."""

from __future__ import annotations

import sys

import pytest

from clip_core.processing.frameworks import by_backend, default_backend

PACKAGES = {name: sorted(framework.packages) for name, framework in by_backend().items()}


@pytest.mark.parametrize(
    ("missing", "name"),
    [((), "torch"), (("torch",), "flax"), (("torch", "flax"), "tf"), (("torch", "flax", "tf"), "torch")],
)
def test_the_default_is_the_first_whose_framework_is_installed(monkeypatch, missing, name):
    for one in missing:
        for package in PACKAGES[one]:
            monkeypatch.setitem(sys.modules, package, None)
    assert default_backend() == name


def test_one_package_of_a_framework_is_not_enough(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "jaxlib", None)
    assert default_backend() == "tf"


def test_without_a_backend_there_is_no_default(monkeypatch):
    monkeypatch.setattr("clip_core.processing.frameworks.by_backend", dict)
    with pytest.raises(ValueError, match=r"clip_core\.backends"):
        default_backend()
