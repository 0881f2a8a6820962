"""Outputs read like attributes, mappings and tuples, and pass through the compilers of all three frameworks."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from clip_core.configuration import CLIPConfig
from clip_core.modeling.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    CLIPOutput,
    CLIPTextModelOutput,
    as_asked,
)
from support.messages import naming


@pytest.fixture
def output():
    tower = BaseModelOutputWithPooling(last_hidden_state="states", pooler_output="pooled")
    return CLIPOutput(logits_per_text="texts", image_embeds="images", text_model_output=tower)


def test_a_field_is_read_by_attribute_key_index_and_slice(output):
    assert output.logits_per_text == output["logits_per_text"] == output[0] == "texts"
    assert output[1] == output[:2][1] == "images"
    assert output[-1] == ("states", "pooled")
    assert output[:2] == ("texts", "images")


def test_none_fields_are_skipped_by_every_view_but_the_attribute(output):
    names = ["logits_per_text", "image_embeds", "text_model_output"]
    assert output.loss is None
    assert list(output) == list(output.keys()) == [name for name, _ in output.items()] == names
    assert len(output) == len(output.values()) == len(output.to_tuple()) == 3
    assert "loss" not in output
    assert output.get("loss", 5) == 5
    with pytest.raises(KeyError):
        output["loss"]


def test_an_output_around_another_has_its_fields_and_its_own():
    tower = BaseModelOutputWithPooling(
        last_hidden_state="states", pooler_output="pooled", hidden_states=("embeddings",)
    )
    assert CLIPTextModelOutput.of(tower, text_embeds="texts") == {
        "text_embeds": "texts",
        "last_hidden_state": "states",
        "hidden_states": ("embeddings",),
    }
    assert CLIPTextModelOutput.of(tower, last_hidden_state="other")[0] == "other"
    with pytest.raises(TypeError, match=naming("CLIPTextModelOutput", "'pooled'")):
        CLIPTextModelOutput.of(tower, pooled="pooled")


def test_to_tuple_unfolds_inner_outputs(output):
    assert output.to_tuple() == ("texts", "images", ("states", "pooled"))


def test_it_unpacks_as_keywords_and_into_a_dict(output):
    assert dict(**output) == dict(output) == dict(output.items())


def test_fields_can_be_set_by_key_and_unknown_ones_cannot(output):
    output["loss"] = 1.0
    assert output[0] == output.loss == 1.0
    with pytest.raises(KeyError, match=naming("CLIPOutput", "'los'")):
        output["los"] = 2.0


def test_it_is_an_ordered_dictionary_and_a_dataclass(output):
    assert isinstance(output, OrderedDict)
    assert isinstance(output.text_model_output, dict)
    assert [field.name for field in dataclasses.fields(output)][:2] == ["loss", "logits_per_image"]
    assert dataclasses.asdict(output)["text_model_output"]["pooler_output"] == "pooled"
    assert "loss=None" in repr(output)


def test_a_new_item_takes_its_fields_place_and_none_removes_it(output):
    output.text_embeds = "texts"
    assert list(output) == ["logits_per_text", "text_embeds", "image_embeds", "text_model_output"]
    assert output["text_embeds"] == output[1] == "texts"
    output.text_embeds = None
    assert list(output) == ["logits_per_text", "image_embeds", "text_model_output"]
    assert output.text_embeds is None


def test_attributes_and_items_stay_in_step(output):
    output.image_embeds = 1
    assert output["image_embeds"] == dict(output)["image_embeds"] == 1
    output["image_embeds"] = 2
    assert output.image_embeds == 2
    output.note = "not a field"
    assert "note" not in output


@pytest.mark.parametrize("change", ["pop", "update", "setdefault", "popitem", "clear", "__delitem__"])
def test_items_cannot_be_removed_or_updated_together(output, change):
    with pytest.raises(TypeError, match=naming("CLIPOutput")):
        getattr(output, change)(*[] if change in ("popitem", "clear") else [{"loss": 1}])
    with pytest.raises(TypeError, match=naming("CLIPOutput")):
        del output.image_embeds
    assert list(output) == ["logits_per_text", "image_embeds", "text_model_output"]


@pytest.mark.parametrize("given", [dict, lambda fields: iter(fields.items()), lambda fields: list(fields.items())])
def test_it_is_made_of_a_mapping_or_of_pairs(output, given):
    twin = type(output)(given(output))
    assert twin == output
    assert twin.loss is None
    assert twin.text_model_output is output.text_model_output


def test_other_single_values_are_the_first_field():
    for value in ("states", ("a", "b"), np.ones((3, 2)), [["a", 1, 2]], 5):
        assert BaseModelOutput(value).last_hidden_state is value
    assert BaseModelOutput(last_hidden_state={"a": 1})[0] == {"a": 1}
    assert list(BaseModelOutput({})) == list(BaseModelOutput()) == []


def test_what_fits_no_field_is_an_error():
    with pytest.raises(TypeError, match=naming("BaseModelOutput", "'pooled'")):
        BaseModelOutput(pooled=1)
    with pytest.raises(TypeError, match=naming("BaseModelOutput", "'pooled'")):
        BaseModelOutput({"pooled": 1})
    with pytest.raises(TypeError, match=naming("last_hidden_state")):
        BaseModelOutput(1, 2, last_hidden_state=1)
    with pytest.raises(TypeError, match=naming("3", "4")):
        BaseModelOutput(1, 2, 3, 4)
    with pytest.raises(ValueError, match=naming("(3, 4)")):
        BaseModelOutput([("attentions", 1), (3, 4)])


def test_a_subclass_with_fields_of_its_own_is_an_output():
    @dataclasses.dataclass
    class Scored(BaseModelOutput):
        score: float | None = None

    output = Scored(last_hidden_state="states", score=0.5)
    assert output.to_tuple() == ("states", 0.5)
    assert Scored("states", None, None, 0.5)["score"] == 0.5


def test_copies_are_outputs_with_the_same_fields(output):
    twins = [
        pickle.loads(pickle.dumps(output)),  # noqa: S301
        copy.copy(output),
        copy.deepcopy(output),
        output.copy(),
        output | {},
        dataclasses.replace(output),
    ]
    for twin in twins:
        assert type(twin) is CLIPOutput
        assert twin is not output
        assert twin == output
        assert twin.to_tuple() == output.to_tuple()
        assert twin.image_embeds == twin["image_embeds"] == "images"
        assert twin.loss is None
    output.note = "kept"
    assert copy.deepcopy(output).note == "kept"


def test_replace_returns_a_copy_with_other_values(output):
    changed = output.replace(loss=1.0, image_embeds=None)
    assert list(changed) == ["loss", "logits_per_text", "text_model_output"]
    assert list(output) == ["logits_per_text", "image_embeds", "text_model_output"]


@pytest.mark.parametrize(
    ("return_dict", "configured", "is_tuple"),
    [(None, True, False), (None, False, True), (True, False, False), (False, True, True)],
)
def test_the_call_decides_on_a_tuple_and_else_the_config(output, return_dict, configured, is_tuple):
    answer = as_asked(output, CLIPConfig(return_dict=configured), return_dict)
    assert isinstance(answer, tuple) is is_tuple
