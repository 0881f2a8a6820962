"""The parts of the comparison that need no checkout of transformers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from transformers_suite.run import PACKAGES, TABLE, check_release, outcomes_of, reasons, with_imports

SOURCE = """
from transformers import CLIPConfig, logging
if True:
    from transformers.models.clip.modeling_clip import CLIPModel
    from transformers.models.clip.tokenization_clip import VOCAB_FILES_NAMES
from ...test_common import CLIPConfig
"""
REPORT = """<testsuites><testsuite>
<testcase classname="tests.clip.ModelTest" name="test_one"/>
<testcase classname="tests.clip.ModelTest" name="test_one"><failure message="no"/></testcase>
<testcase classname="tests.clip.ModelTest" name="test_two"><skipped/></testcase>
</testsuite></testsuites>"""


def test_our_names_are_imported_from_our_package_and_all_others_as_before():
    assert with_imports(SOURCE, "clip_torch", {"CLIPConfig", "CLIPModel"}).splitlines() == [
        "from clip_torch import CLIPConfig",
        "from transformers import logging",
        "if True:",
        "    from clip_torch import CLIPModel",
        "    from transformers.models.clip.tokenization_clip import VOCAB_FILES_NAMES",
        "from ...test_common import CLIPConfig",
    ]


def test_of_several_outcomes_the_worst_counts():
    assert outcomes_of(REPORT) == {"ModelTest.test_one": "failed", "ModelTest.test_two": "skipped"}


def test_every_difference_is_of_a_known_file_and_has_a_reason():
    assert {row["file"] for row in TABLE["difference"]} <= PACKAGES.keys()
    assert all(row["reason"] for kind in TABLE.values() for row in kind)
    assert sum(len(reasons(file)) for file in PACKAGES) == sum(len(row["tests"]) for row in TABLE["difference"])


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="not a checkout"):
        check_release(tmp_path)
    (tmp_path / "tests/models/clip").mkdir(parents=True)
    (tmp_path / "src/transformers").mkdir(parents=True)
    (tmp_path / "src/transformers/__init__.py").write_text('__version__ = "1.2.3"')
    with pytest.raises(SystemExit, match=r"1\.2\.3"):
        check_release(tmp_path)
