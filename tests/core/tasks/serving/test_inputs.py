"""Texts and images of a request, and the messages about those that cannot be read."""

from __future__ import annotations

import base64

import pytest

from clip_core.tasks.serving import ServerSettings
from clip_core.tasks.serving.inputs import ImageInput, TextInput, fields_of, inputs_of, strings_of
from clip_core.tasks.serving.settings import RequestError
from support.messages import mentions

SETTINGS = ServerSettings(image_hosts=("images.example.org",))
CONTENT = base64.b64encode(b"image").decode()


def refusal(read, *arguments):
    with pytest.raises(RequestError) as error:
        read(*arguments)
    return error.value


@pytest.mark.parametrize("scheme", ["data:image/png;base64,", "DATA:image/png;base64,", "Data:;BASE64,"])
def test_a_scheme_is_recognized_in_any_case(scheme):
    assert inputs_of({"input": scheme + CONTENT}, "input", SETTINGS) == [ImageInput(b"image", None, "input")]
    (url,) = inputs_of({"input": {"image": "HTTPS://images.example.org/a.png"}}, "input", SETTINGS)
    assert url == ImageInput(None, "HTTPS://images.example.org/a.png", "input")


def test_a_text_that_begins_like_a_url_is_a_text():
    assert inputs_of({"input": ["https://images.example.org"]}, "input", SETTINGS) == [
        TextInput("https://images.example.org", "input[0]")
    ]


@pytest.mark.parametrize("texts", [["a", "b \ud83d"], ["a", "\udc00"]])
def test_half_of_a_surrogate_pair_is_refused_by_its_place(texts):
    for found in (
        refusal(inputs_of, {"input": texts}, "input", SETTINGS),
        refusal(strings_of, {"input": texts}, "input", SETTINGS),
    ):
        assert (found.status, found.param, found.code) == (400, "input[1]", "invalid_text")
        assert mentions(found.message, f"\\u{ord(texts[1][-1]):04x}", f"character {len(texts[1]) - 1}")
        assert found.message.isascii()


@pytest.mark.parametrize("body", ["[1]", "null", '"a"', "5", "true"])
def test_other_json_than_an_object_is_refused_in_the_words_of_json(body):
    message = refusal(fields_of, body.encode()).message
    assert mentions(message, body)
    assert not any(word in message for word in ("list", "str ", "NoneType", "int ", "bool", "dict"))
