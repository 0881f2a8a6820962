"""Models to and from a hub, through huggingface_hub, against a local stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

import clip_torch
from converters.checkpoint import open_checkpoint
from support.configs import tiny_config
from support.hub_server import TOKEN
from support.tolerances import FLOAT64_ROUNDING

PROGRAM = """
import sys, json
from clip_torch import CLIPModel, CLIPTextModel
cache = sys.argv[1]
model = CLIPModel.from_pretrained("user/clip", revision="sharded", cache_dir=cache)
text = CLIPTextModel.from_pretrained("user/pipeline", subfolder="text_encoder", cache_dir=cache)
again = CLIPModel.from_pretrained("user/clip", revision="sharded", cache_dir=cache, local_files_only=True)
total = lambda m: sum(p.double().sum().item() for p in m.parameters())
url = model.push_to_hub("user/copy", token=%r, commit_message="A copy", max_shard_size="60KB")
text.save_pretrained(cache + "/my-text", push_to_hub=True, token=%r)
errors = []
for kwargs in ({"revision": "gone"}, {"subfolder": "gone"}):
    try:
        CLIPModel.from_pretrained("user/clip", cache_dir=cache, **kwargs)
    except FileNotFoundError as error:
        errors.append(str(error))
print(json.dumps({"totals": [total(model), total(again), total(text)], "url": url, "errors": errors}))
""" % (TOKEN, TOKEN)  # noqa: UP031  the program is full of braces


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_models_come_from_and_go_to_a_hub(server, tmp_path):
    torch.manual_seed(0)
    model = clip_torch.CLIPModel(tiny_config())
    text = clip_torch.CLIPTextModel(tiny_config())
    model.save_pretrained(tmp_path / "model", max_shard_size="60KB")
    text.save_pretrained(tmp_path / "text")
    in_subfolder = {f"text_encoder/{name}": content for name, content in files_of(tmp_path / "text").items()}
    server.repositories = {
        "user/clip": {"main": {"README.md": b"empty"}, "sharded": files_of(tmp_path / "model")},
        "user/pipeline": {"main": in_subfolder},
    }
    settings = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment = {**{key: value for key, value in os.environ.items() if not key.startswith("HF_")}, **settings}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "cache")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)

    whole, tower = (sum(p.double().sum().item() for p in m.parameters()) for m in (model, text))
    assert answer["totals"] == pytest.approx([whole, whole, tower], rel=FLOAT64_ROUNDING)
    assert "revision 'gone'" in answer["errors"][0]
    assert "gone" in answer["errors"][1]

    uploaded = server.repositories["user/copy"]["main"]
    assert server.commits[0]["summary"] == "A copy"
    assert answer["url"].startswith(f"{server.url}/user/copy/commit/")
    assert {"config.json", "model.safetensors.index.json", "model-00001-of-00005.safetensors"} <= uploaded.keys()
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in uploaded.items():
        (copy / name).write_bytes(content)
    assert open_checkpoint(copy).keys() == model.state_dict().keys()
    assert "model.safetensors" in server.repositories["someone/my-text"]["main"]
