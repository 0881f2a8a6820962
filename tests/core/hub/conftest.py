"""A folder of files of a model, which are empty."""

from __future__ import annotations

import pytest


@pytest.fixture
def folder(tmp_path):
    for name in ("config.json", "model.safetensors", "text_encoder/config.json"):
        path = tmp_path / "clip" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return tmp_path / "clip"
