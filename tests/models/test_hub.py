"""Models to and from a hub, through huggingface_hub, against a local stand-in."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from converters.checkpoint import open_checkpoint
from support.backends import BACKENDS
from support.configs import SHALLOW, tiny_config
from support.entries import total
from support.hub_server import TOKEN
from support.programs import environment

# One process for all backends, because huggingface_hub reads the hub's address once.
PROGRAM = """
import json, sys
from support.backends import BACKENDS
from support.entries import total
cache, token = sys.argv[1:]
found = {}
for backend in BACKENDS:
    def load(class_name, source, **options):
        return backend.load(class_name, source, cache_dir=cache, **options)
    model = load("CLIPModel", "user/clip", revision="sharded")
    text = load("CLIPTextModel", "user/pipeline", subfolder="text_encoder")
    again = load("CLIPModel", "user/clip", revision="sharded", local_files_only=True)
    totals = [total(backend.weights(one)) for one in (model, again, text)]
    url = model.push_to_hub(f"user/{backend.name}", token=token, commit_message="A copy", max_shard_size="60KB")
    text.save_pretrained(f"{cache}/{backend.name}-text", push_to_hub=True, token=token)
    errors = []
    for missing in ({"revision": "gone"}, {"subfolder": "gone"}):
        try:
            load("CLIPModel", "user/clip", **missing)
        except FileNotFoundError as error:
            errors.append(str(error))
    found[backend.name] = {"totals": totals, "url": url, "errors": errors}
print(json.dumps(found))
"""


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def hub(server, tmp_path_factory):
    """The findings of each backend on a hub, the hub, and the weights of the two models there."""
    folder, weights = tmp_path_factory.mktemp("hub"), []
    for name, options in (("CLIPModel", {"max_shard_size": "60KB"}), ("CLIPTextModel", {})):
        model = BACKENDS[0].build(name, tiny_config(**SHALLOW))
        model.save_pretrained(folder / name, **options)
        weights.append(BACKENDS[0].weights(model))
    in_subfolder = {f"text_encoder/{name}": content for name, content in files_of(folder / "CLIPTextModel").items()}
    server.repositories = {
        "user/clip": {"main": {"README.md": b"empty"}, "sharded": files_of(folder / "CLIPModel")},
        "user/pipeline": {"main": in_subfolder},
    }
    settings = {"HF_ENDPOINT": server.url, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    inherited = {key: value for key, value in environment().items() if not key.startswith("HF_")}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder / "cache"), TOKEN]
    run = subprocess.run(command, env={**inherited, **settings}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1]), server, weights


def test_models_come_from_and_go_to_a_hub(backend, hub, tmp_path):
    found, server, weights = hub
    answer = found[backend.name]
    whole, tower = map(total, weights)
    assert answer["totals"] == [whole, whole, tower]
    assert "revision 'gone'" in answer["errors"][0]
    assert "gone" in answer["errors"][1]

    uploaded = server.repositories[f"user/{backend.name}"]["main"]
    assert {commit["summary"] for commit in server.commits} >= {"A copy"}
    assert answer["url"].startswith(f"{server.url}/user/{backend.name}/commit/")
    assert {"config.json", "model.safetensors.index.json"} <= uploaded.keys()
    assert len([name for name in uploaded if name.endswith(".safetensors")]) > 1
    for name, content in uploaded.items():
        (tmp_path / name).write_bytes(content)
    assert set(open_checkpoint(tmp_path)) == set(weights[0])
    assert "model.safetensors" in server.repositories[f"someone/{backend.name}-text"]["main"]
