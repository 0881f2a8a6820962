"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.oracle import Oracle

# TensorFlow prints its start-up to stderr; nothing there helps a test.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of pictures and the trained checkpoint that stands beside the repository, where there is one."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (pictures and a trained checkpoint), which is not part of the repository")
    return folder


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """transformers 4.57.6 in a process of its own."""
    from support.oracle import Oracle

    process = Oracle()
    yield process
    process.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `backend` runs once for each."""
    if "backend" in metafunc.fixturenames:
        from support.backends import BACKENDS

        metafunc.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
