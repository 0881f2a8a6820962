"""Attention implementations are selected by name, and their limits are warned of once."""

from __future__ import annotations

import warnings

import pytest

from clip_core import CLIPTextConfig
from clip_core.modeling import attention as attention_names
from clip_core.modeling.attention import implementation_of_call, known_implementation, warn_of_eager
from clip_core.processing import Framework
from support.messages import naming


def test_none_is_the_default_and_other_names_are_kept():
    assert known_implementation(None, ("eager", "sdpa")) == "sdpa"
    assert known_implementation("eager", ("eager", "sdpa")) == "eager"


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("flex", ['"flex"', "eager", "sdpa"]),
        ("flash_attention_2", ['"flash_attention_2"', "eager", "sdpa", "clip_torch"]),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_known(name, named):
    with pytest.raises(ValueError, match=naming(*named)):
        known_implementation(name, ("eager", "sdpa"))


def test_each_implementation_that_has_no_weights_is_told_of_once(monkeypatch):
    monkeypatch.setattr(attention_names, "_warned", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("eager", "sdpa", "sdpa", "flash_attention_2", "eager"):
            warn_of_eager(name)
    assert [str(warning.message).partition(" ")[0] for warning in caught] == [
        "attn_implementation='sdpa'",
        "attn_implementation='flash_attention_2'",
    ]


def test_two_is_the_only_end_of_text_that_pools_at_the_largest_id():
    assert CLIPTextConfig(eos_token_id=2).pools_at_largest_id
    assert not CLIPTextConfig().pools_at_largest_id
    assert not CLIPTextConfig(eos_token_id=1).pools_at_largest_id


def test_an_error_names_the_package_of_any_backend_that_declares_the_implementation(monkeypatch):
    declared = {"one": Framework("one", frozenset(), *3 * [None], attention_implementations=("eager", "rings"))}
    monkeypatch.setattr(attention_names, "by_backend", lambda: declared)
    monkeypatch.setattr(attention_names, "backend_packages", lambda: {"one": "clip_one", "other": "clip_other"})
    with pytest.raises(ValueError, match=naming('"rings"', "eager", "sdpa", "clip_one")) as refused:
        known_implementation("rings", ("eager", "sdpa"))
    assert "clip_other" not in str(refused.value)


def test_a_call_that_returns_the_weights_is_eager(monkeypatch):
    told = []
    monkeypatch.setattr(attention_names, "warn_of_eager", told.append)
    assert implementation_of_call("sdpa", output_attentions=False) == "sdpa"
    assert implementation_of_call("sdpa", output_attentions=True, warns=False) == "eager"
    assert told == []
    assert implementation_of_call("sdpa", output_attentions=True) == "eager"
    assert told == ["sdpa"]
