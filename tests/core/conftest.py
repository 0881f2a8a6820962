"""A trained model and an image of what it knows, for tests of the command line."""

from __future__ import annotations

import pytest


@pytest.fixture
def model(shared):
    return shared / "emoji" / "checkpoint"


@pytest.fixture
def cat(shared):
    return shared / "emoji" / "pictures" / "cat.png"
