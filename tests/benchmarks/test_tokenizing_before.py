"""The package of an earlier revision is imported beside today's, under a name of its own."""

from __future__ import annotations

import subprocess

import pytest
import tokenizing_before

import clip_core
from support.messages import naming


@pytest.fixture
def repository(tmp_path):
    """A repository with a package `clip_core` that was changed after its only commit."""
    folder = tmp_path / "repository"
    (folder / "clip_core").mkdir(parents=True)
    (folder / "clip_core" / "__init__.py").write_text(
        "def answer():\n    from clip_core.parts import value\n\n    return value\n"
    )
    (folder / "clip_core" / "parts.py").write_text("value = 'before'\n")
    git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"], ["tag", "v0.1"]):
        subprocess.run([*git, *command], check=True)
    (folder / "clip_core" / "parts.py").write_text("value = 'after'\n")
    return folder


def test_an_earlier_package_is_imported_with_all_its_parts(repository, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    before = tokenizing_before.package_of("v0.1", tmp_path, repository)
    assert before.answer() == "before"
    assert before.__name__ == "clip_core_at_v0_1"
    assert __import__("clip_core") is clip_core


def test_a_revision_that_is_not_there_is_named(repository, tmp_path):
    with pytest.raises(ValueError, match=naming(repository, "'v0.2'")):
        tokenizing_before.package_of("v0.2", tmp_path, repository)
