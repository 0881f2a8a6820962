"""Models shared by several tests, each built once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from support.configs import tiny_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def built() -> Callable[..., Any]:
    """Return a model with three labels that other tests share: call it, save it, and change nothing in it."""
    made: dict[tuple[str, str], Any] = {}

    def model(backend: Any, class_name: str = "CLIPModel") -> Any:
        key = (backend.name, class_name)
        if key not in made:
            made[key] = backend.build(class_name, tiny_config(num_labels=3))
        return made[key]

    return model


@pytest.fixture(scope="session")
def saved(built: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return the folder of a saved CLIPModel that other tests share: read it, and change nothing in it."""
    made: dict[str, Any] = {}

    def folder(backend: Any) -> Any:
        if backend.name not in made:
            made[backend.name] = tmp_path_factory.mktemp(backend.name)
            built(backend).save_pretrained(made[backend.name])
        return made[backend.name]

    return folder


@pytest.fixture
def folder(backend: Any, saved: Callable[..., Any], tmp_path: Path) -> Path:
    """Return the folder of a saved CLIPModel that a test may change."""
    return shutil.copytree(saved(backend), tmp_path / "model")
