"""Fixtures for benchmarks, which are programs rather than a package; tests import their modules as they do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
