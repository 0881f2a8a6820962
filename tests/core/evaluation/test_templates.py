"""Prompt templates: OpenAI's, and a file's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from clip_core.evaluation.templates import IMAGENET_7, IMAGENET_80, read_templates
from clip_core.tasks.zero_shot import check_templates
from support.messages import naming


def test_there_are_as_many_as_the_names_say_and_each_has_a_place():
    assert (len(IMAGENET_7), len(set(IMAGENET_80))) == (7, 80)
    assert set(IMAGENET_7) < set(IMAGENET_80)
    check_templates(IMAGENET_80)


def test_they_are_those_that_open_clip_has():
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        pytest.skip("needs open_clip")
    source = (Path(spec.origin).parent / "zero_shot_metadata.py").read_text(encoding="utf-8")
    tables, _, _ = source.partition("IMAGENET_CLASSNAMES")  # read as text: importing it takes torchvision
    found: dict[str, tuple] = {}
    exec(tables, found)  # noqa: S102  a file of the package that is installed
    assert [fill("{}") for fill in found["OPENAI_IMAGENET_TEMPLATES"]] == list(IMAGENET_80)
    assert [fill("{}") for fill in found["SIMPLE_IMAGENET_TEMPLATES"]] == list(IMAGENET_7)


def test_a_file_has_one_a_line(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeffa photo of {}\n\n  art of {}.  \n", encoding="utf-8")
    assert read_templates(path) == ["a photo of {}", "art of {}."]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"a photo\n", ["'a photo'", "{}"]),
        (b"", ["{}"]),
        (b"\xff\xfe{", ["UTF-8"]),
        (None, []),
    ],
)
def test_a_file_that_cannot_be_right_is_named(tmp_path, content, named):
    if content is not None:
        (tmp_path / "prompts.txt").write_bytes(content)
    with pytest.raises(ValueError, match=naming(tmp_path / "prompts.txt", *named)):
        read_templates(tmp_path / "prompts.txt")
