"""The reference's functions and a trained checkpoint, for several tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.oracle import Oracle


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest, oracle: Oracle) -> Callable[..., Any]:
    """Return a function that calls one of the reference's, of the module in tests/support that the test names."""
    functions = request.module.REFERENCE
    return lambda function, **arguments: oracle(f"{functions}.{function}", **arguments)


@pytest.fixture(scope="session")
def checkpoint(shared: Path) -> Path:
    """Return a trained checkpoint, with its tokenizer and image processor."""
    return shared / "emoji" / "checkpoint"
