"""The programs of the captioning example, its decoder in the repository, and its page."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_core import ZeroShotClassifier
from support.messages import mentions
from support.tolerances import SHARE_OF_300

sys.path.append(str(Path(__file__).parents[2] / "examples" / "captioning"))
sys.path.append(str(Path(__file__).parents[2] / "examples" / "shapes"))

import captioner
import decoder
import demo_captions
import describe
import measuring
import shape_captions
import train_decoder
import words

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "captioning"
SHAPES = ROOT / "examples" / "shapes"
PICTURES = sorted((SHAPES / "pictures").glob("*.png"))


# The decoder in the repository, with the demo model.


@pytest.fixture(scope="module")
def classifier():
    return ZeroShotClassifier.from_pretrained(SHAPES / "checkpoint", backend="torch")


@pytest.fixture(scope="module")
def committed(classifier):
    return captioner.Captioner(classifier, decoder.Decoder.load(EXAMPLE / "decoder"))


def test_the_decoder_is_small():
    assert (EXAMPLE / "decoder" / decoder.FILE).stat().st_size <= 4e6


def test_the_decoder_was_trained_on_the_captions_without_held_out_pairs():
    kept = decoder.Decoder.load(EXAMPLE / "decoder")
    texts = shape_captions.corpus(5_000)
    assert kept.settings.probe == texts[0]
    assert kept.vocabulary == words.Vocabulary.from_captions(texts)


def test_what_is_measured_is_what_was_told(classifier, committed):
    told = json.loads((EXAMPLE / "decoder" / "results.json").read_text())
    for kind, before in told.items():
        now = measuring.measure(classifier, committed, kind, 60, seed=99)
        assert now.images == 60
        assert abs(now.told - before["told"]) < SHARE_OF_300
        assert now.by_way.keys() == before["by_way"].keys()
        assert before["by_way"]["decoder"]["right_of_told"] >= 0.9
        assert abs(now.by_way["decoder"].right - before["by_way"]["decoder"]["right"]) < SHARE_OF_300


def test_the_page_contains_what_was_measured():
    page = (EXAMPLE / "README.md").read_text()
    for measured in json.loads((EXAMPLE / "decoder" / "results.json").read_text()).values():
        assert f"{measured['told']:.1%}" in page
        for way, shares in measured["by_way"].items():
            of_told, right, wholly = (f"{shares[name]:.1%}" for name in ("right_of_told", "right", "wholly_right"))
            assert f"| {way} | {of_told} | {right} | {wholly} |" in page


def test_the_frameworks_describe_images_alike(capsys):
    shown = []
    for backend in ("torch", "tf", "flax"):
        assert describe.main([str(SHAPES / "pictures"), "--backend", backend, "--all"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] == shown[2]
    lines = shown[0].splitlines()
    assert len(lines) == captioner.BEAMS * len(PICTURES)
    assert {line.split(": ")[0] for line in lines} == {str(path) for path in PICTURES}
    page = (EXAMPLE / "README.md").read_text()
    assert all(line.removeprefix(f"{ROOT}/") in page for line in lines[: 3 * captioner.BEAMS : captioner.BEAMS])


def test_options_change_the_captions(capsys):
    def described(*options):
        assert describe.main([str(PICTURES[2]), "--backend", "torch", *options]) == 0
        return [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()]

    favourites = described("--all", "--no-rerank")
    assert sorted(favourites) == sorted(described("--all"))
    assert described("--no-rerank") == favourites[:1]
    assert len(described("--all", "--beams", "2")) == 2
    assert len(described("--no-rerank", "--length-penalty", "9")[0].split()) > len(
        described("--no-rerank", "--length-penalty", "0")[0].split()
    )


def test_the_demo_shows_captions_and_shares(capsys, tmp_path):
    results = tmp_path / "results.json"
    assert demo_captions.main(["--count", "3", "--backend", "torch", "--json", str(results)]) == 0
    shown = capsys.readouterr().out
    assert all(path.stem in shown for path in PICTURES)
    told = json.loads(results.read_text())
    assert told.keys() == measuring.PAIRS.keys()
    for kind, measured in told.items():
        assert f"{measured['images']} drawings of {kind};" in shown
        for shares in measured["by_way"].values():
            assert all(
                0 <= share <= 1 for share in (shares["right"], shares["wholly_right"], *shares["by_fact"].values())
            )


def test_the_programs_train_a_decoder_that_describes_images(tmp_path, capsys):
    shape_captions.main([str(tmp_path / "captions.txt"), "--count", "40"])
    arguments = [str(tmp_path / "captions.txt"), str(tmp_path / "decoder"), "--steps", "2", "--batch-size", "8"]
    assert train_decoder.main(arguments) == 0
    assert describe.main([str(PICTURES[0]), "--decoder", str(tmp_path / "decoder"), "--backend", "torch"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{PICTURES[0]}: ")


def refused(capsys, program, *arguments):
    """Run a program that does not accept its input, and return its answer on stderr."""
    capsys.readouterr()
    try:
        code = program.main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    assert code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0].removeprefix(f"{program.__name__}.py: ")


@pytest.mark.parametrize(
    ("program", "arguments", "named"),
    [
        (describe, [], ["images"]),
        (describe, ["missing.png"], ["missing.png"]),
        (describe, ["a.png", "--decoder", "nowhere"], ["nowhere/decoder.safetensors", "train_decoder.py"]),
        (describe, ["a.png", "--decoder", "damaged"], ["damaged/decoder.safetensors", "train_decoder.py"]),
        (describe, ["a.png", "--decoder", "foreign"], ["foreign/decoder.safetensors", "settings"]),
        (describe, ["a.png", "--model", "./nowhere"], ["nowhere"]),
        (describe, ["a.png", "--backend", "mxnet"], ["--backend", "mxnet"]),
        (describe, ["a.png", "--beams", "0"], ["--beams", "0", 1]),
        (describe, ["a.png", "--beams", "two"], ["--beams", "two"]),
        (describe, ["a.png", "--length-penalty", "nan"], ["--length-penalty", "nan"]),
        (describe, ["a.png", "--length-penalty", "inf"], ["--length-penalty", "inf"]),
        (describe, ["a.png", "--length-penalty", "-1"], ["--length-penalty", "-1"]),
        (describe, ["text.png"], ["text.png"]),
        (demo_captions, ["--count", "0"], ["--count", "0"]),
        (demo_captions, ["--decoder", "nowhere"], ["nowhere/decoder.safetensors"]),
        (shape_captions, ["taken/captions.txt"], ["taken"]),
        (shape_captions, ["new.txt", "--count", "none"], ["--count", "none"]),
        (train_decoder, ["missing.txt", "out"], ["missing.txt"]),
        (train_decoder, ["empty.txt", "out"], ["empty.txt"]),
        (train_decoder, ["a.png", "out"], ["a.png"]),
        (train_decoder, ["long.txt", "out"], [24]),
        (train_decoder, ["good.txt", "taken"], ["taken"]),
        (train_decoder, ["good.txt", "out", "--lr", "0"], ["--lr", "0"]),
        (train_decoder, ["good.txt", "out", "--noise", "-0.1"], ["--noise", "-0.1"]),
    ],
)
def test_bad_input_is_answered_in_one_line_with_exit_code_2(program, arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a.png")
    Path("text.png").write_text("not an image")
    for name, content in (
        ("empty.txt", "\n \n"),
        ("long.txt", "a red star " * 20),
        ("good.txt", "a red star"),
        ("taken", ""),
    ):
        Path(name).write_text(content)
    for name in ("damaged", "foreign"):
        Path(name).mkdir()
    Path("damaged", decoder.FILE).write_bytes(b"half of it")
    decoder.save_file({"a": np.zeros(2)}, Path("foreign", decoder.FILE))
    assert mentions(refused(capsys, program, *arguments), *named)
    assert not Path("out").exists()
    assert not Path("new.txt").exists()


def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    page = (EXAMPLE / "README.md").read_text()
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        for line in block.replace("\\\n", "").splitlines()
    ]
    ran = {}
    programs = {f"{module.__name__}.py": module for module in (describe, demo_captions, shape_captions, train_decoder)}
    for name in ("examples", "build"):
        (tmp_path / name).mkdir() if name == "build" else (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    quick = {
        "shape_captions.py": ["--count", "40"],
        "train_decoder.py": ["--steps", "2"],
        "demo_captions.py": ["--count", "2"],
    }
    for command in commands:
        if not command.startswith("python "):
            continue
        _, path, *arguments = shlex.split(command)
        name = Path(path).name
        found = [str(one) for word in arguments for one in (sorted(Path().glob(word)) if "*" in word else [word])]
        assert programs[name].main([*found, *quick.get(name, [])]) == 0, capsys.readouterr().err
        ran[name] = command
    assert ran.keys() == programs.keys()
