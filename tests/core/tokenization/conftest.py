"""The tiny vocabulary, and both tokenizers made of it."""

from __future__ import annotations

import pytest

from clip_core.tokenization.bpe import CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from support.vocabulary import write_vocabulary


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(params=[CLIPTokenizer, CLIPTokenizerFast])
def make(request, files):
    return lambda **options: request.param(**files, **options)
