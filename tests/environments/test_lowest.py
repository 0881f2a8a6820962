"""`make test-lowest` installs every extra of pyproject.toml that has versions of its own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from environments.small_parity import CHECKS

HERE = Path(__file__).parent
COMBINED = {"all", "test"}  # of other extras, and of tools that a user does not install
RAY = "ray"  # `make test-ray` tests it, at the lowest release


def test_every_extra_is_installed_at_its_lowest_versions():
    extras = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = re.search(r"\$\{EXTRAS:-([\w ]+)\}", (HERE / "lowest.sh").read_text())[1].split()
    assert installed == list(dict.fromkeys(installed))
    assert set(installed) == {"none", *extras} - COMBINED - {RAY}
    backends = {"torch", "tf", "flax"}
    assert set(installed) - {"none"} == backends | CHECKS.keys()
