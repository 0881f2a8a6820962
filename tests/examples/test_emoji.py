"""The emoji example, on stand-in packages: downloads are verified, and the written data train a model."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from clip_core import CLIPConfig, CLIPProcessor
from clip_core.data import open_pairs

sys.path.append(str(Path(__file__).parents[2] / "examples" / "emoji"))

import catalogue
import lengthen
import packages
import variation

from support.messages import naming
from support.tolerances import ROUNDING

EXAMPLE = Path(catalogue.__file__).parent

# By its path, as another example has a program of this name, too.
spec = importlib.util.spec_from_file_location("prepare_emoji", EXAMPLE / "prepare.py")
prepare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prepare)

NAMES = {"1F600": "grinning face", "1F1EB-1F1F7": "flag: France", "0031-FE0F-20E3": "keycap: 1", "2764": "red heart"}
TAGS = {"1F600": ["happy", "smile", "face"], "2764": ["love"]}
# Each vendor spells code points in its own way, and draws one emoji that another does not.
CODES = {
    packages.GOOGLE: ("1f600.png", "1f1eb-1f1f7.png", "0031-fe0f-20e3.png", "2764-fe0f.png", "1f601.png"),
    packages.MICROSOFT: ("1f600.webp", "1f1eb-1f1f7.webp", "31-fe0f-20e3.webp", "2764-fe0f.webp"),
    packages.TWITTER: ("1f600.png", "1f1eb-1f1f7.png", "31-20e3.png", "2764.png", "1f602.png"),
}


def draw(path, number):
    picture = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(picture).ellipse((16, 16, 48, 48), fill=(200, 40 * number, 20, 255))
    picture.save(path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder of the four packages, as npm installs them."""
    root = tmp_path_factory.mktemp("packages")
    for package in (*CODES, packages.NAMES):
        (root / package.name).mkdir(parents=True)
        (root / package.name / "package.json").write_text(json.dumps({"version": package.version}))
    for package, files in CODES.items():
        folder = root / package.name / package.inside
        folder.mkdir(parents=True)
        for number, file in enumerate(files):
            draw(folder / file, number)
    rows = [{"hexcode": code, "label": label, "tags": TAGS.get(code, []), "group": 0} for code, label in NAMES.items()]
    rows += [{"hexcode": "1F601", "label": "not drawn by all", "group": 0}, {"hexcode": "1F1E6", "label": "no group"}]
    names = root / packages.NAMES.name / packages.NAMES.inside
    names.parent.mkdir()
    names.write_text(json.dumps(rows))
    return root


@pytest.fixture(scope="module")
def prepared(installed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("emoji") / "data"
    prepare.main([str(folder), "--packages", str(installed), "--variations", "3", "--workers", "0"])
    return folder


@pytest.fixture
def packed(tmp_path):
    """A tarball as npm packs it, in a folder, and the package it is of."""
    package = packages.Package("@some/thing", "1.2.3", "", "img/64")
    content = tmp_path / "source" / "package"
    for file in ("package.json", "LICENSE", "img/64/a.png", "img/640/b.png", "sheet.png"):
        (content / file).parent.mkdir(parents=True, exist_ok=True)
        (content / file).write_text('{"version": "1.2.3"}')
    folder = tmp_path / "packages"
    folder.mkdir()
    with tarfile.open(folder / "some-thing-1.2.3.tgz", "w:gz") as tar:
        tar.add(content, "package")
    digest = hashlib.sha512((folder / package.tarball).read_bytes()).digest()
    return folder, replace(package, integrity=f"sha512-{base64.b64encode(digest).decode()}")


def test_the_test_set_is_the_third_vendors_on_white_with_its_names(prepared):
    rows = [json.loads(line) for line in (prepared / "test" / "metadata.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == list(NAMES.values())
    assert rows[0] == {"file_name": "1f600.png", "label": "grinning face", "text": "a picture of grinning face"}
    pixels = np.asarray(Image.open(prepared / "test" / "1f1eb-1f1f7.png"))
    assert pixels.shape == (64, 64, 3)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[32, 32].tolist() == [200, 40, 20]


def test_each_row_group_is_one_variation_of_one_vendors_drawings(prepared):
    pairs = open_pairs(prepared / "train.parquet")
    assert list(pairs.sizes) == [4] * 6
    groups = [list(pairs.read(number, 0, 4)) for number in range(6)]
    for group in groups:
        assert [pair.captions[0] for pair in group] == [f"a picture of {name}" for name in NAMES.values()]
    assert len({pair.image for group in groups for pair in group}) == 24


def test_the_same_seed_writes_the_same_whatever_the_number_of_processes(prepared, installed, tmp_path):
    options = ["--packages", str(installed), "--variations", "3"]
    command = [sys.executable, EXAMPLE / "prepare.py", tmp_path, *options, "--workers", "2"]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "train.parquet").read_bytes() == (prepared / "train.parquet").read_bytes()
    prepare.main([str(tmp_path), *options, "--workers", "0", "--seed", "1"])
    assert (tmp_path / "train.parquet").read_bytes() != (prepared / "train.parquet").read_bytes()


def test_a_model_trains_from_scratch_on_it_and_is_evaluated(prepared, run, tmp_path):
    scratch, out = prepared / "scratch", tmp_path / "run"
    data = ["--data", prepared / "train.parquet", "--model", scratch / "config.json", "--checkpoint-dir", out]
    code, _, err = run("train", *data, "--batch-size", 8, "--crop", "none", "--workers", 0)
    assert code == 0, err
    config = CLIPConfig.from_pretrained(out / "step-00000003")
    assert config.text_config.vocab_size == len(CLIPProcessor.from_pretrained(scratch).tokenizer)
    common = ["--data", prepared / "test", "--model", out / "step-00000003", "--workers", 0, "--json"]
    code, found, err = run("evaluate", "zero-shot", *common, "--template", "a picture of {}")
    assert code == 0, err
    assert json.loads(found)["result"]["classes"] == len(NAMES)
    code, found, err = run("evaluate", "retrieval", *common)
    assert code == 0, err
    assert json.loads(found)["texts"] == len(NAMES)


def test_a_longer_model_gives_for_short_texts_what_it_gave(prepared, tmp_path):
    import torch

    import clip_torch

    short, long = tmp_path / "short", tmp_path / "long"
    processor = CLIPProcessor.from_pretrained(prepared / "scratch")
    clip_torch.CLIPModel(CLIPConfig.from_pretrained(prepared / "scratch")).save_pretrained(short)
    processor.save_pretrained(short)
    lengthen.main([str(short), str(long), "--positions", "31"])
    ids = torch.tensor(processor.tokenizer(["a picture of red heart"])["input_ids"])
    with torch.no_grad():
        before, after = (
            clip_torch.CLIPModel.from_pretrained(folder).get_text_features(ids) for folder in (short, long)
        )
    # Not bit for bit: the files lie in memory at other alignments, for which MKL adds in other orders.
    torch.testing.assert_close(before, after, rtol=ROUNDING, atol=ROUNDING)
    assert CLIPConfig.from_pretrained(long).text_config.max_position_embeddings == 31
    assert CLIPProcessor.from_pretrained(long).tokenizer.model_max_length == 31
    with pytest.raises(SystemExit, match=naming(31, "--positions 31")):
        lengthen.main([str(long), str(tmp_path / "longer"), "--positions", "31"])


def test_captions_hold_the_name_and_keywords_that_it_does_not_hold_itself():
    random = np.random.default_rng(0)
    emoji = catalogue.Emoji("1f600", "grinning face", ("happy", "face", "smile"))
    texts = catalogue.captions(emoji, random)
    assert texts[:3] == ["a picture of grinning face"] * 2 + ["grinning face"]
    assert texts[3] in {f"a picture of grinning face: {words}" for words in ("happy, smile", "smile, happy")}
    assert len(catalogue.captions(catalogue.Emoji("31", "one", ("One",)), random)) == 3


def test_variations_differ_and_keep_to_the_size(tmp_path):
    draw(tmp_path / "a.png", 2)
    random = np.random.default_rng(0)
    pictures = [variation.varied(tmp_path / "a.png", 48, random) for _ in range(20)]
    assert {(picture.size, picture.mode) for picture in pictures} == {((48, 48), "RGB")}
    assert len({picture.tobytes() for picture in pictures}) == 20
    # The ground is white or pale, and the disc is red or grey.
    grounds = [np.asarray(picture)[0, 0].min() for picture in pictures]
    assert min(grounds) > 180
    assert sum(ground > 245 for ground in grounds) > 10


def test_a_tarball_is_checked_and_unpacked_as_far_as_it_is_wanted(packed):
    folder, package = packed
    assert packages.find(package, folder) == folder / "@some/thing/img/64"
    files = {path.relative_to(folder / "@some/thing").as_posix() for path in (folder / "@some/thing").rglob("*.*")}
    assert files == {"package.json", "img/64/a.png"}
    assert (folder / "@some/thing/LICENSE").is_file()


def test_a_damaged_tarball_is_an_error(packed):
    folder, package = packed
    (folder / package.tarball).write_bytes(b"half of it")
    with pytest.raises(ValueError, match=naming("some-thing-1.2.3.tgz", "1.2.3")):
        packages.find(package, folder)
    assert not (folder / "@some").exists()


def test_another_version_is_an_error(packed):
    folder, package = packed
    packages.find(package, folder)
    with pytest.raises(ValueError, match=naming("1.2.3", "2.0.0")):
        packages.find(replace(package, version="2.0.0"), folder)


def test_what_is_not_there_is_fetched_by_npm_where_there_is_npm(packed, tmp_path, monkeypatch):
    folder, package = packed
    calls = []

    def npm(command, cwd, **_):
        calls.append(command)
        (cwd / package.tarball).write_bytes((folder / package.tarball).read_bytes())
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(packages.subprocess, "run", npm)
    assert packages.find(package, tmp_path / "new").is_dir()
    assert calls == [["/bin/npm", "pack", "--silent", "@some/thing@1.2.3"]]


def test_without_npm_the_command_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=naming("emoji-datasource-google", "npm")):
        prepare.main([str(tmp_path)])
