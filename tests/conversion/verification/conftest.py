"""Fixtures for tests of the verification."""

from __future__ import annotations

import pytest

from converters.verification import jobs


@pytest.fixture
def without_variants(monkeypatch):
    """Compare the main inputs alone, because the variants take most of the time."""
    monkeypatch.setattr(jobs, "variants", lambda *_, **__: {})
