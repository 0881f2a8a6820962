"""Limits that contradict each other, or that no request could keep, are refused."""

from __future__ import annotations

import pytest

from clip_core.tasks.serving import ServerSettings
from support.messages import naming


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("max_queue", 1.5),
        ("max_body", -1),
        ("max_pixels", True),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("timeout", "60"),
        ("max_wait", -1),
        ("max_wait", float("inf")),
        ("api_key", "clé"),
    ],
)
def test_a_limit_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        ServerSettings(**{name: value})


@pytest.mark.parametrize("name", ["hosts", "image_hosts"])
def test_one_host_in_place_of_several_is_refused(name):
    with pytest.raises(TypeError, match=naming(name)):
        ServerSettings(**{name: "localhost"})


def test_a_request_has_to_fit_into_the_queue():
    with pytest.raises(ValueError, match=naming("max_inputs=10", "max_queue=9")):
        ServerSettings(max_inputs=10, max_queue=9)


def test_the_key_is_not_shown():
    assert "secret" not in repr(ServerSettings(api_key="secret"))
