"""A checkpoint that several commands and checks read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.checkpoints import save_checkpoint
from support.configs import tiny_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the folder of a tiny CLIPModel."""
    save_checkpoint(tmp_path / "model", tiny_config())
    return tmp_path / "model"
