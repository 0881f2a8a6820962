"""The texts of the multilingual example: its grammars, the names of emoji, the split, and the files."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

from support.messages import mentions

sys.path.append(str(Path(__file__).parents[2] / "examples" / "multilingual"))
sys.path.append(str(Path(__file__).parents[2] / "examples" / "shapes"))

import emoji_names
import parallel_texts
import scenes
import shape_sentences
from parallel_texts import Pair, Row


def scene(number, colour, shape):
    return scenes.Scene(colour, shape, "large", number, "centre", "white", "plain")


@pytest.mark.parametrize(
    ("content", "phrases"),
    [
        (
            ("one", "red", "star"),
            ("a red star", "ein roter Stern", "una estrella roja", "une étoile rouge", "一つの赤い星"),
        ),
        (
            ("two", "black", "cross"),
            ("two black crosses", "zwei schwarze Kreuze", "dos cruces negras", "deux croix noires", "二つの黒い十字"),
        ),
        (
            ("one", "orange", "crescent"),
            ("an orange crescent", "eine orange Mondsichel", "una media luna naranja", "un croissant orange",
             "一つのオレンジ色の三日月"),
        ),
        (
            ("four", "purple", "circle"),
            ("four purple circles", "vier lila Kreise", "cuatro círculos morados", "quatre cercles violets",
             "四つの紫の丸"),
        ),
    ],
)  # fmt: skip
def test_grammars_agree_in_gender_and_number(content, phrases):
    assert tuple(tell(scene(*content)) for tell in shape_sentences.LANGUAGES.values()) == phrases


def test_every_scene_has_a_phrase_of_its_own_in_every_language():
    every = shape_sentences.grid(scenes.SEEN + scenes.HELD_OUT)
    for tell in shape_sentences.LANGUAGES.values():
        assert len(set(map(tell, every))) == len(every) == 400


def test_no_sentence_about_a_held_out_pair_is_in_the_training_texts():
    texts = [text for pair in shape_sentences.parallel() for text in pair]
    assert len(set(texts)) == 360 * 5 * 3
    for held_out in shape_sentences.grid(scenes.HELD_OUT):
        for tell in shape_sentences.LANGUAGES.values():
            assert not any(tell(held_out) in text for text in texts)


# Each emoji's English name, and its names in two of the languages; in the others, a name of its own.
NAMES = {
    "1f4ce": ("paperclip", {"fr": "trombone", "de": "büroklammer"}),
    "1f3ba": ("trombone", {"fr": "Trombone", "de": "posaune"}),
    "1f436": ("dog face", {"fr": "chien", "de": "hund"}),
    "2764": ("red heart", {"fr": "cœur", "de": "herz"}),
    "1f680": ("rocket", {"fr": "fusée", "de": "rakete"}),
}


@pytest.fixture
def package(monkeypatch):
    """A stand-in for the package emoji, which writes names with underscores, between colons."""
    data = {}
    for code, (english, own) in NAMES.items():
        names = {language: own.get(language, f"{language} {english}") for language in emoji_names.TEMPLATES}
        spelled = {language: f":{name.replace(' ', '_')}:" for language, name in names.items()}
        character = chr(int(code, 16))
        if code == "2764":
            data[character] = {"status": 4} | dict.fromkeys(spelled, ":other:")
            character += "\ufe0f"
        data[character] = {"status": 2} | spelled
    module = types.SimpleNamespace(EMOJI_DATA=data, config=types.SimpleNamespace(load_language=lambda: None))
    monkeypatch.setitem(sys.modules, "emoji", module)
    return module


@pytest.fixture
def images(tmp_path):
    """A folder of images as the emoji example's prepare.py writes it, and one of an emoji that has no translations."""
    folder = tmp_path / "images"
    folder.mkdir()
    rows = []
    for place, (code, english) in enumerate([*((code, one[0]) for code, one in NAMES.items()), ("31", "one")]):
        Image.new("RGB", (64, 64), (40 * place, 90, 0)).save(folder / f"{code}.png")
        rows.append({"file_name": f"{code}.png", "label": english, "text": f"a picture of {english}"})
    (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def test_the_names_of_an_emoji_become_pairs_with_english(package, images, tmp_path):
    assert emoji_names.main([str(images), str(tmp_path / "out"), "--held-out", "0.4"]) == 0
    pairs = parallel_texts.read_pairs(tmp_path / "out" / "parallel.tsv")
    rows = parallel_texts.read_rows(tmp_path / "out" / "test.jsonl")
    assert [(tmp_path / "out" / row.file_name).resolve().stem for row in rows] == list(NAMES)
    assert rows[3].texts["en"] == "a picture of red heart"
    assert rows[3].texts["de"] == "ein Bild von herz"
    assert rows[3].texts["ja"] == "ja red heartの絵"
    learned = [row for row in rows if not row.held_out]
    assert 1 <= len(rows) - len(learned) <= 2
    assert len(pairs) == len(learned) * 2 * len(emoji_names.TEMPLATES)
    english = learned[0].texts["en"].removeprefix("a picture of ")
    assert pairs[:2] == [Pair(english, english), Pair(english, NAMES[Path(learned[0].file_name).stem][1]["de"])]
    assert pairs[len(emoji_names.TEMPLATES) + 1] == Pair(learned[0].texts["en"], learned[0].texts["de"])
    texts = {parallel_texts.plain(pair.translation) for pair in pairs}
    held_out = [row for row in rows if row.held_out]
    assert not texts & {parallel_texts.plain(text) for row in held_out for text in row.texts.values()}


def test_emoji_that_share_a_name_in_any_language_are_held_out_together():
    names = [{"en": english, **own} for english, own in NAMES.values()]
    assert sorted(map(sorted, emoji_names.groups(names))) == [[0, 1], [2], [3], [4]]
    for seed in range(20):
        held_out = emoji_names.hold_out(names, 0.5, seed)
        assert (0 in held_out) == (1 in held_out)
        assert 1 <= len(held_out) <= 2
    assert emoji_names.hold_out(names, 0.1, 0) == set()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--held-out", "1"], ["--held-out", 1]),
        (["--held-out", "some"], ["--held-out", "'some'"]),
        (["--seed", "-1"], ["--seed", "'-1'"]),
    ],
)
def test_bad_options_of_the_names_are_answered_in_one_line(arguments, named, images, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        emoji_names.main([str(images), str(tmp_path / "out"), *arguments])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert mentions(line, *named)


def test_a_missing_package_and_another_table_are_answered_in_one_line(package, images, tmp_path, monkeypatch, capsys):
    table = images / "metadata.jsonl"
    for content in ('{"label": "x"}', "[]", "no JSON", '{"file_name": "31.png", "label": "one"}', ""):
        table.write_text(content)
        assert emoji_names.main([str(images), str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert mentions(line, table)
    monkeypatch.setitem(sys.modules, "emoji", None)
    assert emoji_names.main([str(images), str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert mentions(line, "emoji")
    assert not (tmp_path / "out").exists()


def test_files_come_back_as_they_were_written(tmp_path):
    pairs = [Pair("a dog", "ein Hund"), Pair("a dog", "イヌ")]
    parallel_texts.write_pairs(tmp_path / "pairs.tsv", pairs)
    assert parallel_texts.read_pairs(tmp_path / "pairs.tsv") == pairs
    rows = [Row("a.png", True, {"en": "a dog", "ja": "イヌ"}), Row("b.png", False, {"en": "a cat", "ja": "ネコ"})]
    parallel_texts.write_rows(tmp_path / "rows.jsonl", rows)
    assert parallel_texts.read_rows(tmp_path / "rows.jsonl") == rows
