"""The examples of docs/bridging.md and docs/migration.md run as they are written, and what they say is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from clients.inputs import image, inputs
from clients.stable_diffusion import diffusers, make_pipeline, save_adapter, text_parts

import clip_torch

transformers = pytest.importorskip("transformers")

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.filterwarnings("ignore")


def examples(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def run_all(programs, names):
    """Run programs one after another, each with the names that those before it left."""
    for program in programs:
        exec(program, names)  # noqa: S102  the page's own
    return names


@pytest.fixture
def place(folder, tmp_path, monkeypatch):
    """A working directory with the folders that the pages name."""
    monkeypatch.chdir(tmp_path)
    transformers.CLIPModel.from_pretrained(folder).save_pretrained("clip")
    make_pipeline(**text_parts(transformers, folder)).save_pretrained("stable-diffusion")
    save_adapter(transformers.CLIPTextModel.from_pretrained(folder), tmp_path / "style")
    return tmp_path


def test_the_examples_of_bridging_run(place):
    programs = examples("bridging.md")
    assert len(programs) == 5
    names = run_all(programs, {})
    assert type(names["encoder"]) is clip_torch.CLIPTextModel
    assert json.loads((place / "with-our-encoder/model_index.json").read_text())["text_encoder"] == [
        "transformers",
        "CLIPTextModel",
    ]
    assert type(names["adapted"].get_base_model()) is clip_torch.CLIPModel  # what AutoPeftModel loaded
    again = diffusers.StableDiffusionPipeline.from_pretrained(place / "with-our-encoder")
    assert again.text_encoder(inputs()["input_ids"]).last_hidden_state.isfinite().all()


def test_the_examples_of_migration_run(folder, tmp_path, monkeypatch):
    (tmp_path / "clip").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    names = run_all(examples("migration.md"), {})
    assert names["CLIPModel"] is clip_torch.CLIPModel
    scores = names["classify"](image(), candidate_labels=["a cat", "a dog"], hypothesis_template="{}")
    assert {score["label"] for score in scores} == {"a cat", "a dog"}
    assert names["trainer"].model is names["model"]


def test_diffusers_refuses_or_overlooks_our_own_classes(folder, place):
    parts = text_parts(clip_torch, folder, bridge=lambda library, thing: thing)
    for name, part in parts.items():
        with pytest.raises(ValueError, match=type(part).__name__):
            diffusers.StableDiffusionPipeline.from_pretrained("stable-diffusion", **{name: part})
    pipeline = make_pipeline(**parts)
    pipeline.save_pretrained("saved")
    assert json.loads((place / "saved/model_index.json").read_text())["text_encoder"] == [None, None]
    assert not (place / "saved/text_encoder").exists()


def test_symbolic_trace_takes_the_counterpart(folder):
    from transformers.utils import fx

    ours = clip_torch.CLIPTextModel.from_pretrained(folder).eval()
    traced = fx.symbolic_trace(clip_torch.to_transformers(ours), input_names=["input_ids"])
    ids = inputs()["input_ids"]
    with torch.no_grad():
        assert torch.equal(traced(input_ids=ids)["last_hidden_state"], ours(ids).last_hidden_state)


def test_hftracer_takes_our_model_with_its_inputs(folder):
    from transformers.utils import fx

    ours = clip_torch.CLIPTextModel.from_pretrained(folder).eval()
    traced = torch.fx.GraphModule(ours, fx.HFTracer().trace(ours, dummy_inputs=ours.dummy_inputs))
    ids = inputs()["input_ids"]
    with torch.no_grad():
        assert torch.equal(traced(input_ids=ids)["last_hidden_state"], ours(ids).last_hidden_state)
