"""Configuration files that tests write."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def write(tmp_path):
    """A function that writes a config.json and returns its folder."""

    def write(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        return tmp_path

    return write
