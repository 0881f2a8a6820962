"""The reference's functions and a trained checkpoint, for several tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.added_tokens import CLASSES
from support.vocabulary import write_vocabulary

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


@pytest.fixture(scope="module")
def small(reference: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small vocabulary as the reference saves it."""
    folder = tmp_path_factory.mktemp("small")
    write_vocabulary(folder)
    reference("save_tokenizer", source=str(folder), folder=str(folder), options={"model_max_length": 77})
    return folder


@pytest.fixture(scope="module")
def tokenizers(checkpoint: Path) -> list[Any]:
    """Return both tokenizers of the trained checkpoint."""
    return [cls.from_pretrained(checkpoint) for cls in CLASSES]
