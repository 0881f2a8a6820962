"""A processor and a folder of images for loaders."""

from __future__ import annotations

import pytest

from support.training_data import make_processor, write_folder


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return make_processor(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "pictures", 23)
