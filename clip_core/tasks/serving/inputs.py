"""Inputs of requests: fields of a JSON body, and the texts and images in them."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clip_core.configuration.arguments import is_integer
from clip_core.hub.printing import shortened
from clip_core.tasks.search.filters import parse_conditions
from clip_core.tasks.serving.settings import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.tasks.serving.settings import ServerSettings

_DATA = ("data:",)
_URLS = ("http://", "https://")
# Content parts of OpenAI's APIs, and of servers that are compatible with them, by the key that holds the content.
_TEXT_KEYS = ("text", "input_text")
_IMAGE_KEYS = ("image_url", "input_image", "image")


@dataclass(frozen=True)
class TextInput:
    """A text to encode.

    Attributes:
        text: the text.
        place: its field in the request, for messages.
    """

    text: str
    place: str


@dataclass(frozen=True)
class ImageInput:
    """An image to encode: the bytes of its file, or the URL of one.

    Attributes:
        content: the bytes; None for a URL.
        url: the URL; None for bytes.
        place: its field in the request, for messages.
    """

    content: bytes | None
    url: str | None
    place: str


def fields_of(content: bytes) -> dict[str, Any]:
    """Return the fields of a request's body.

    Args:
        content: the body.

    Raises:
        RequestError: it is not a JSON object.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not valid JSON: {error}", code="invalid_json") from error
    if not isinstance(fields, dict):
        raise RequestError(400, f"the body is {_shown(fields)}; expected a JSON object", code="invalid_json")
    return fields


def check_fields(fields: dict[str, Any], known: set[str]) -> None:
    """Check that a request has no unknown fields: a misspelt one would be ignored.

    Args:
        fields: the fields of the request.
        known: the names allowed.

    Raises:
        RequestError: one is unknown.
    """
    unknown = sorted(fields.keys() - known)
    if unknown:
        name = shortened(unknown[0])
        raise RequestError(400, f"unknown field {name!r}; known are {', '.join(sorted(known))}", name, "unknown_field")


def integer_of(fields: dict[str, Any], name: str, default: int) -> int:
    """Return an integer of 1 or more from a request.

    Args:
        fields: the fields of the request.
        name: the field.
        default: the value if it is absent or null.

    Raises:
        RequestError: it is not an integer of 1 or more.
    """
    value = default if fields.get(name) is None else fields[name]
    if not is_integer(value) or value < 1:
        raise RequestError(400, f"{name} is {_shown(value)}; expected an integer of 1 or more", name)
    return value


def start_layer_of(fields: dict[str, Any], name: str, layers: int) -> int | None:
    """Return the number of a layer from a request, or None if it is absent or null.

    Args:
        fields: the fields of the request.
        name: the field.
        layers: the number of layers; negative numbers count from the end.

    Raises:
        RequestError: there is no such layer.
    """
    value = fields.get(name)
    if value is not None and not (is_integer(value) and -layers <= value < layers):
        raise RequestError(400, f"{name} is {_shown(value)}; expected an integer from {-layers} to {layers - 1}", name)
    return value


def boolean_of(fields: dict[str, Any], name: str) -> bool:
    """Return true or false from a request; false if it is absent or null.

    Args:
        fields: the fields of the request.
        name: the field.

    Raises:
        RequestError: it is anything else.
    """
    value = False if fields.get(name) is None else fields[name]
    if not isinstance(value, bool):
        raise RequestError(400, f"{name} is {_shown(value)}; expected true or false", name)
    return value


def choice_of(fields: dict[str, Any], name: str, choices: Sequence[str]) -> str:
    """Return one of several words from a request; the first of them if it is absent or null.

    Args:
        fields: the fields of the request.
        name: the field.
        choices: the words allowed.

    Raises:
        RequestError: it is anything else.
    """
    value = choices[0] if fields.get(name) is None else fields[name]
    if value not in choices:
        raise RequestError(400, f"{name} is {_shown(value)}; choose {' or '.join(choices)}", name)
    word: str = value
    return word


def strings_of(fields: dict[str, Any], name: str, settings: ServerSettings) -> list[str]:
    """Return a list of texts from a request; a single text is a list of one.

    Args:
        fields: the fields of the request.
        name: the field.
        settings: the limits.

    Raises:
        RequestError: it is absent, empty, too long or holds anything but texts.
    """
    value = fields.get(name)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RequestError(400, f"{name} is {_shown(value)}; expected a text or a list of texts", name)
    _check_count(len(texts), name, settings)
    for place, text in enumerate(texts):
        _check_text(text, f"{name}[{place}]")
    return texts


def text_inputs_of(fields: dict[str, Any], name: str, settings: ServerSettings) -> list[TextInput | ImageInput]:
    """Return the texts of a field.

    Args:
        fields: the fields of the request.
        name: the field.
        settings: the limits.

    Raises:
        RequestError: as in `strings_of`.
    """
    return [TextInput(text, f"{name}[{place}]") for place, text in enumerate(strings_of(fields, name, settings))]


def conditions_of(fields: dict[str, Any], name: str, settings: ServerSettings) -> list[str]:
    """Return the conditions of a search.

    Args:
        fields: the fields of the request.
        name: the field.
        settings: the limits.

    Raises:
        RequestError: one is not a condition, or as in `strings_of`.
    """
    conditions = strings_of(fields, name, settings)
    for place, condition in enumerate(conditions):
        try:
            parse_conditions([condition])
        except ValueError as error:
            raise RequestError(400, f"{name}[{place}]: {error}", f"{name}[{place}]") from error
    return conditions


def inputs_of(
    fields: dict[str, Any], name: str, settings: ServerSettings, *, only_images: bool = False
) -> list[TextInput | ImageInput]:
    """Return texts and images from a request.

    A string is a text, or an image if it begins with `data:`, in upper or lower case. An object is a content part of
    OpenAI's APIs, such as `{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}`, or short,
    `{"image": "data:..."}`.

    Args:
        fields: the fields of the request.
        name: the field.
        settings: the limits.
        only_images: refuse texts; strings are then images, as a data URI or a URL.

    Raises:
        RequestError: the field is absent, empty or too long, or holds anything else.
    """
    value = fields.get(name)
    several = value if isinstance(value, list) else [value]
    if value is None or not several:
        raise RequestError(400, f"{name} is missing or empty", name, "missing_field")
    if all(is_integer(one) or isinstance(one, list) for one in several):
        message = f"{name} holds token ids or lists; send the text itself: this model has a tokenizer of its own"
        raise RequestError(400, message, name, "token_ids")
    _check_count(len(several), name, settings)
    places = [f"{name}[{index}]" for index in range(len(several))] if isinstance(value, list) else [name]
    return [_input(one, place, settings, only_images) for one, place in zip(several, places, strict=True)]


def _check_count(count: int, name: str, settings: ServerSettings) -> None:
    if count > settings.max_inputs:
        raise RequestError(400, f"{name} has {count} entries; at most {settings.max_inputs} are allowed", name)


def _input(value: Any, place: str, settings: ServerSettings, only_images: bool) -> TextInput | ImageInput:
    kind, content = _part(value, place)
    if kind == "image" or (isinstance(content, str) and (only_images or _has_scheme(content, _DATA))):
        return _image(content, place, settings)
    if only_images or not isinstance(content, str):
        expected = "an image as a data URI" if only_images else "a text, or an image as a data URI"
        raise RequestError(400, f"{place} is {_shown(value)}; expected {expected}", place)
    _check_text(content, place)
    return TextInput(content, place)


def _check_text(text: str, place: str) -> None:
    if not text.strip():
        raise RequestError(400, f"{place} is empty", place)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        message = f"{place} has half of a surrogate pair, {half}, at character {error.start}; send whole characters"
        raise RequestError(400, message, place, "invalid_text") from error


def _part(value: Any, place: str) -> tuple[str | None, Any]:
    """Return the kind and the content of a content part; None if the kind depends on the content."""
    if not isinstance(value, dict):
        return None, value
    for key in (*_TEXT_KEYS, *_IMAGE_KEYS):
        if key in value:
            content = value[key]
            if isinstance(content, dict):
                content = content.get("url")
            return ("text" if key in _TEXT_KEYS else "image"), content
    raise RequestError(400, f"{place} is an object without text or image_url", place)


def _image(value: Any, place: str, settings: ServerSettings) -> ImageInput:
    if not isinstance(value, str):
        raise RequestError(400, f"{place} is {_shown(value)}; expected an image as a data URI", place)
    if _has_scheme(value, _DATA):
        return ImageInput(_of_data_uri(value, place), None, place)
    if not _has_scheme(value, _URLS):
        message = f"{place} is neither a data URI nor an http(s) URL; send data:image/png;base64,..."
        raise RequestError(400, message, place)
    if not settings.image_hosts:
        message = f"{place} is a URL, and this server reads no URLs; send the image itself as data:image/...;base64,..."
        raise RequestError(400, message, place, "urls_are_off")
    return ImageInput(None, value, place)


def _of_data_uri(uri: str, place: str) -> bytes:
    head, comma, content = uri.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise RequestError(400, f"{place} is not a base64 data URI; expected data:image/png;base64,...", place)
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, f"{place} is not valid base64: {error}", place) from error


def _has_scheme(text: str, schemes: tuple[str, ...]) -> bool:
    return text[:8].lower().startswith(schemes)  # as long as the longest; a data URI may have megabytes


def _shown(value: Any) -> str:
    if value is None:
        return "missing or null"
    kinds: dict[type, str] = {dict: "the object ", list: "the array ", str: "the text "}
    return f"{kinds.get(type(value), '')}{shortened(json.dumps(value)[:200])}"
