"""The parts of the comparison that need no checkout of transformers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from transformers_suite.run import (
    HUB_ID,
    OLDER,
    PACKAGES,
    TABLE,
    check_older,
    check_release,
    outcomes_of,
    reasons,
    with_imports,
    write_hub_cache,
)

from clip_core.processing import CLIPProcessor

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


def test_files_that_the_release_lacks_need_a_checkout_that_has_them(tmp_path):
    check_older(None, [])
    with pytest.raises(SystemExit, match="modeling_tf_clip.*--older"):
        check_older(None, ["modeling_tf_clip"])
    with pytest.raises(SystemExit, match="lacks tests/models/clip/test_modeling_flax_clip.py"):
        check_older(tmp_path, ["modeling_flax_clip"])
    for path in OLDER["modeling_flax_clip"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    check_older(tmp_path, ["modeling_flax_clip"])


def test_the_checkpoint_of_the_tests_is_found_without_the_hub(tmp_path):
    write_hub_cache(tmp_path)
    processor = CLIPProcessor.from_pretrained(HUB_ID, cache_dir=tmp_path, local_files_only=True)
    assert processor.tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
