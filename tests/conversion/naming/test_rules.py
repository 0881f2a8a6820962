"""The tables are bijections onto the canonical parameter table, for every class and any configuration."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_core.modeling.parameters import MODEL_CLASSES, parameter_table
from converters.formats import layouts
from converters.naming.names import layout_of, to_canonical, to_file
from converters.naming.rules import FLAX, HUGGING_FACE, OPENAI, TENSORFLOW, WORDS
from converters.naming.transforms import TRANSFORMS
from support.configs import tiny_config
from support.entries import assert_same, part_of, random_arrays, random_entries

HEADS = st.sampled_from([1, 2, 5])
TOWER = {"num_hidden_layers": st.integers(1, 12), "intermediate_size": st.integers(1, 9)}
CONFIGS = st.builds(
    lambda text, vision, labels, dim: tiny_config(text, vision, num_labels=labels, projection_dim=dim),
    st.fixed_dictionaries(
        TOWER
        | {
            "vocab_size": st.integers(98, 105),
            "max_position_embeddings": st.integers(1, 20),
            "hidden_size": st.sampled_from([5, 10, 15]),
        }
    ),
    st.fixed_dictionaries(
        TOWER
        | {"hidden_size": st.sampled_from([3, 6, 9]), "num_channels": st.integers(1, 4), "image_size": st.just(12)}
        | {"patch_size": st.sampled_from([1, 2, 3, 4, 12])}
    ),
    st.integers(1, 4),
    st.integers(1, 7),
)


def has_place(layout, class_name):
    """Return False for the classifier in OpenAI's layout, which has none."""
    return layout is not OPENAI or class_name != "CLIPForImageClassification"


CASES = [
    pytest.param(layout, class_name, id=f"{layout.name}, {class_name}")
    for layout in layouts()
    for class_name in MODEL_CLASSES
    if has_place(layout, class_name)
]


@pytest.mark.parametrize(("layout", "class_name"), CASES)
@given(config=CONFIGS)
@settings(max_examples=8, deadline=None)
def test_a_table_is_a_bijection_onto_the_parameters_of_every_class(layout, class_name, config):
    entries = random_entries(config, class_name)
    in_file = to_file(entries, layout)
    assert layout_of(in_file, layouts()) is layout
    back, source = to_canonical(in_file, layout)
    assert {name: entry.shape for name, entry in back.items()} == parameter_table(
        part_of(config, class_name), class_name
    )
    assert set(source.values()) == in_file.keys()  # nothing in the file is left over
    assert_same(back, entries)


@pytest.mark.parametrize(("layout", "class_name"), CASES)
@given(config=CONFIGS)
@settings(max_examples=3, deadline=None)
def test_what_is_said_of_a_tensor_in_the_file_holds(layout, class_name, config):
    in_file = to_file(random_entries(config, class_name), layout)
    for name, entry in in_file.items():
        array = entry.load()
        assert (array.shape, array.dtype) == (entry.shape, entry.dtype), name
        assert array.flags.c_contiguous
    values = random_arrays(config, class_name).values()
    assert sum(entry.nbytes for entry in in_file.values()) == sum(array.nbytes for array in values)


@pytest.mark.parametrize("layout", layouts(), ids=lambda layout: layout.name)
def test_every_row_is_used_by_some_class(layout):
    config = tiny_config(num_labels=3)
    used = set()
    for class_name in MODEL_CLASSES:
        if has_place(layout, class_name):
            names = to_file(random_entries(config, class_name), layout)
            used |= {row for row in layout.rows if any(matches(row.in_file, name) for name in names)}
    assert used == set(layout.rows)


def matches(pattern, name):
    filled = re.sub(r"\\\{(\w+)\\\}", lambda match: f"({WORDS[match[1]]})", re.escape(pattern))
    return re.fullmatch(filled, name)


@pytest.mark.parametrize("layout", layouts(), ids=lambda layout: layout.name)
def test_the_two_sides_of_a_row_speak_of_the_same_words(layout):
    for row in layout.rows:
        assert row.transform in TRANSFORMS
        for part in row.parts:
            assert set(re.findall(r"\{(\w+)\}", part)) == set(re.findall(r"\{(\w+)\}", row.in_file)) <= WORDS.keys()


def test_names_of_each_layout():
    entries = random_entries(tiny_config())
    shapes = {layout: {name: e.shape for name, e in to_file(entries, layout).items()} for layout in layouts()}
    assert shapes[HUGGING_FACE]["text_model.encoder.layers.2.mlp.fc1.weight"] == (52, 40)
    assert shapes[TENSORFLOW]["text_model/encoder/layers_._2/mlp/fc1/kernel"] == (40, 52)
    assert shapes[FLAX]["text_model/encoder/layers/2/mlp/fc1/kernel"] == (40, 52)
    assert shapes[OPENAI]["transformer.resblocks.2.mlp.c_fc.weight"] == (52, 40)
    assert shapes[OPENAI]["visual.transformer.resblocks.1.attn.in_proj_weight"] == (108, 36)
    assert shapes[TENSORFLOW]["logit_scale"] == (1,)
    assert shapes[TENSORFLOW]["vision_model/embeddings/patch_embedding/kernel"] == (6, 6, 2, 36)
