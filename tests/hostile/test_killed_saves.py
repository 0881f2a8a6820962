"""A save over an existing folder that is killed at any moment leaves the old files or the new ones, and they load."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from clip_core.configuration import CLIPConfig
from clip_core.images.processor import CLIPImageProcessor
from clip_core.processing import CLIPProcessor
from clip_core.tokenization import CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from clip_core.training.checkpoints import RunFolder
from converters import convert, pretrained
from converters.checkpoint import open_checkpoint
from support.configs import tiny_config
from support.entries import entry, random_arrays
from support.snapshots import snapshots
from support.vocabulary import write_vocabulary

SMALL = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
CONFIGS = [
    tiny_config(SMALL, {**SMALL, "num_channels": 3, "hidden_act": act}, projection_dim=4)
    for act in ("gelu", "quick_gelu")
]
SHARDS = {"one file": "1GB", "shards": "8KB", "other shards": "5KB"}


def model(number):
    """Return two models of equal shapes: only values and the activation tell them apart."""
    arrays = {name: array + number for name, array in random_arrays(CONFIGS[number]).items()}
    return SimpleNamespace(config=CONFIGS[number]), {name: entry(array) for name, array in arrays.items()}


def save_model(folder, number, **options):
    owner, entries = model(number)
    pretrained.save(owner, folder, entries, **{"format": "safetensors", "dtype": "float32", "keywords": {}, **options})


def read_model(folder):
    """Return which of the two models a folder has, by its configuration and by each of its weights."""
    checkpoint = open_checkpoint(folder)
    act = CLIPConfig.from_pretrained(folder).vision_config.hidden_act
    named = {number for number in (0, 1) if CONFIGS[number].vision_config.hidden_act == act}
    return named | {
        int(np.array_equal(checkpoint[name], array + 1)) for name, array in random_arrays(CONFIGS[0]).items()
    }


def read_as_others_do(folder):
    """Return the same as read by fixed names, without our readers; None if the folder has no model for them."""
    from safetensors.numpy import load_file

    if not (folder / "config.json").exists():
        return None
    act = json.loads((folder / "config.json").read_text())["vision_config"].get("hidden_act", "quick_gelu")
    if (folder / "model.safetensors").exists():
        arrays = load_file(folder / "model.safetensors")
    elif (folder / "model.safetensors.index.json").exists():
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        arrays = {}
        for shard in set(index["weight_map"].values()):
            arrays |= load_file(folder / shard)
        arrays = {name: arrays[name] for name in index["weight_map"]}
    else:
        return None
    return {int(act == "quick_gelu")} | {
        int(np.array_equal(arrays[name], array + 1)) for name, array in random_arrays(CONFIGS[0]).items()
    }


@pytest.fixture(scope="module")
def figures(request):
    """The numbers of kills, and of the states that they left, over all tests; printed at the end."""
    counts = Counter()
    yield counts
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\nkilled saves: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))  # noqa: T201


@pytest.fixture
def kill(tmp_path, figures):
    """A function that tries a save with a kill at every moment, and reads what is left."""

    def check(folder, save, read, states, **others):
        with snapshots(folder, tmp_path / "killed") as killed:
            save()
        found = {"wrong": [], "unloadable": []}
        for state in killed.states:
            for name, reader in others.items():
                if (answer := reader(state)) not in (None, *states):
                    found["wrong"].append((state.name, name, answer))
            try:
                answer = read(state)
            except (OSError, ValueError) as error:
                found["unloadable"].append((state.name, error))
                continue
            if answer not in states:
                found["wrong"].append((state.name, answer))
        figures.update(
            kills=killed.moments, states=len(killed.states), **{name: len(all_) for name, all_ in found.items()}
        )
        assert found == {"wrong": [], "unloadable": []}
        assert read(killed.states[0]) == states[0]
        assert read(folder) == states[1]
        assert not list(folder.rglob(".saving-*"))
        return killed

    return check


@pytest.mark.parametrize(("before", "after"), list(itertools.product(SHARDS, repeat=2)))
def test_a_model_over_another(tmp_path, kill, before, after):
    folder = tmp_path / "model"
    save_model(folder, 0, max_shard_size=SHARDS[before])
    kill(
        folder,
        lambda: save_model(folder, 1, max_shard_size=SHARDS[after]),
        read_model,
        [{0}, {1}],
        others=read_as_others_do,
    )


@pytest.mark.parametrize("to", ["safetensors", "torch", "tf", "flax"])
def test_a_conversion_over_another(tmp_path, kill, to):
    for number in (0, 1):
        save_model(tmp_path / f"source{number}", number)
    convert(tmp_path / "source0", tmp_path / "target", to)
    kill(
        tmp_path / "target",
        lambda: convert(tmp_path / "source1", tmp_path / "target", to, overwrite=True),
        read_model,
        [{0}, {1}],
    )


def test_a_training_checkpoint_over_the_same_step(tmp_path, kill):
    run = RunFolder(tmp_path / "run", keep=1)

    def write(step, number):
        run.write(step, {"number": number}, lambda folder: save_model(folder, number))

    def read(root):
        last = RunFolder(root).latest()
        return read_model(last.folder) | {last.state["number"]}

    write(5, 0)
    kill(run.root, lambda: write(5, 1), read, [{0}, {1}])


def test_a_training_checkpoint_after_another(tmp_path, kill):
    run = RunFolder(tmp_path / "run", keep=1)

    def write(step, number):
        run.write(step, {"number": number}, lambda folder: save_model(folder, number))

    write(5, 0)
    killed = kill(run.root, lambda: write(6, 1), lambda root: read_model(RunFolder(root).latest().folder), [{0}, {1}])
    for state in killed.states:
        for step in RunFolder(state).steps():
            assert read_model(RunFolder(state).read(step).folder) == {step - 5}


def processors(folder):
    """Return two processors that differ in every file."""
    paths = write_vocabulary(folder)
    other = folder / "other"
    other.mkdir()
    changed = write_vocabulary(other)
    changed["merges_file"].write_text("\n".join(changed["merges_file"].read_text().splitlines()[:5]) + "\n")
    return [
        CLIPProcessor(CLIPImageProcessor(crop_size=size), kind(**files, model_max_length=size, chat_template=chat))
        for size, kind, files, chat in (
            (20, CLIPTokenizerFast, paths, {"default": "a", "short": "b"}),
            (30, CLIPTokenizer, changed, None),
        )
    ]


def read_processor(folder):
    """Return the settings, and what the merges do, as the two processors have them."""
    found = CLIPProcessor.from_pretrained(folder)
    return (
        found.image_processor.crop_size["height"],
        found.tokenizer.model_max_length,
        found.tokenizer.tokenize("the cat sang"),
        found.tokenizer.chat_template,
    )


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("order", [1, -1])
def test_a_processor_over_another(tmp_path, kill, order, legacy):
    old, new = processors(tmp_path)[::order]
    folder = tmp_path / "processor"
    old.save_pretrained(folder)
    new.save_pretrained(tmp_path / "new", legacy_serialization=legacy)
    states = [read_processor(folder), read_processor(tmp_path / "new")]
    assert all(one != other for one, other in zip(*states, strict=True))
    kill(folder, lambda: new.save_pretrained(folder, legacy_serialization=legacy), read_processor, states)
