"""The multilingual example: its texts, the split, the tokenizer, distillation, and the report."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clip_torch
from clip_core import CLIPProcessor, CLIPTokenizer
from clip_core.evaluation import retrieval
from support.messages import mentions
from support.tolerances import FLOAT64_OPERATION, LOSS_AFTER_STEPS

sys.path.append(str(Path(__file__).parents[2] / "examples" / "multilingual"))
sys.path.append(str(Path(__file__).parents[2] / "examples" / "shapes"))

import distill
import emoji_names
import multilingual_report
import parallel_texts
import scenes
import shape_sentences
from parallel_texts import Pair, Row

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "multilingual"
TEACHER = ROOT / "examples" / "shapes" / "checkpoint"
SMALL = ["--vocabulary", "600", "--positions", "32", "--width", "32", "--layers", "1", "--heads", "2"]
QUICK = [*SMALL, "--steps", "12", "--batch-size", "64", "--save-every", "5"]


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


@pytest.fixture(scope="module")
def tokenizer():
    given = CLIPProcessor.from_pretrained(TEACHER).tokenizer
    texts = [pair.translation for pair in shape_sentences.parallel()]
    return distill.learn_tokenizer(given, texts, 700, 24)


# The last character of each of these ends in another byte, or is of a kind that the texts do not contain.
@pytest.mark.parametrize(
    "text", ["~", "a dog", "42 %", "ελλάδα", "كلب", "สุนัข", "कुत्ता", "走る女", "한국어", "ꙮ", "🚀", "ǆ"]
)
def test_the_tokenizer_reads_every_script_without_unknown_tokens(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids.index(tokenizer.eos_token_id) == len(ids) - 1
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_the_tokenizer_has_a_token_for_every_byte_that_can_end_a_word(tokenizer):
    characters = [chr(code) for code in range(0x3000) if not chr(code).isspace()]  # these end in every byte that can
    unknown = [
        character
        for character, ids in zip(characters, tokenizer(characters)["input_ids"], strict=True)
        if tokenizer.eos_token_id in ids[:-1]
    ]
    assert unknown == []


def test_marks_and_joiners_split_words_by_the_rules_of_clip(tokenizer):
    def parts(text):
        return tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)

    assert parts("كلب") == "كلب"
    assert parts("كَلْب") == "ك َ ل ْ ب"  # vowel marks
    assert parts("می\u200cرود") == "می \u200c رود"  # a joiner
    assert parts("İzmir") == "i \u0307 zmir"  # lower case has a combining dot
    assert parts("สุนัข") == "ส ุ น ั ข"
    assert parts("赤い星が二つ") == "赤い星が二つ"


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    """A folder with the shapes' texts, a test of few drawings, and a student of few steps."""
    folder = tmp_path_factory.mktemp("multilingual")
    assert shape_sentences.main([str(folder), "--count", "12"]) == 0
    pairs = shape_sentences.parallel()
    parallel_texts.write_pairs(folder / "parallel.tsv", [pair for pair in pairs if pair.source.startswith("a picture")])
    assert distill.main([str(TEACHER), str(folder / "parallel.tsv"), str(folder / "student"), *QUICK]) == 0
    return folder


def test_the_student_has_the_teachers_vision_tower_and_reads_the_slow_way_too(distilled):
    teacher, student = map(clip_torch.CLIPModel.from_pretrained, (TEACHER, distilled / "student"))
    theirs, ours = teacher.state_dict(), student.state_dict()
    kept = [name for name in theirs if not name.startswith("text_")]
    assert {"logit_scale", "visual_projection.weight"} <= set(kept)
    assert all(torch.equal(theirs[name], ours[name]) for name in kept)
    assert (student.config.text_config.hidden_size, student.config.text_config.intermediate_size) == (32, 128)
    fast = CLIPProcessor.from_pretrained(distilled / "student").tokenizer
    slow = CLIPTokenizer.from_pretrained(distilled / "student")
    assert fast.model_max_length == student.config.text_config.max_position_embeddings == 32
    texts = [pair.translation for pair in shape_sentences.parallel()[:200]] + ["כלב", "İzmir"]
    assert fast(texts)["input_ids"] == slow(texts)["input_ids"]
    assert max(map(max, fast(texts)["input_ids"])) < student.config.text_config.vocab_size == len(fast)
    assert student.config.text_config.eos_token_id == fast.eos_token_id


def test_a_student_learns_translations_and_is_measured(distilled, capsys, tmp_path):
    pairs, student, out = distilled / "parallel.tsv", tmp_path / "student", tmp_path / "results.json"
    learn = ["--vocabulary", "900", "--positions", "32", "--width", "64", "--layers", "1", "--lr", "1e-2"]
    assert distill.main([str(TEACHER), str(pairs), str(student), *learn, "--steps", "60", "--batch-size", "64"]) == 0
    test = str(distilled / "test.jsonl")
    models = [str(TEACHER), str(student)]
    assert multilingual_report.main([test, *models, "--backend", "torch", "--json", str(out)]) == 0
    results = json.loads(out.read_text())
    counts = results["counts"]["de"]
    assert [counts[name] for name in multilingual_report.SUBSETS[:3]] == [24, 12, 12]
    assert counts["known_words"] + counts["new_words"] == 12
    for language in ("de", "es", "fr", "ja"):
        ours, theirs = (results[name][language]["all"]["image_to_text"]["mrr"] for name in ("student", "teacher"))
        assert ours > theirs, language
    printed = capsys.readouterr().out
    assert all(line in printed for lines in multilingual_report.tables(results) for line in lines)
    other = tmp_path / "other"
    clip_torch.CLIPModel(clip_torch.CLIPModel.from_pretrained(TEACHER).config).save_pretrained(other)
    CLIPProcessor.from_pretrained(TEACHER).save_pretrained(other)
    assert multilingual_report.main([test, str(TEACHER), str(other), "--backend", "torch"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert mentions(line, TEACHER, other)


def test_an_interrupted_run_continues_to_the_same_weights(distilled, tmp_path, monkeypatch, capsys):
    arguments = [str(TEACHER), str(distilled / "parallel.tsv"), str(tmp_path / "student"), *QUICK]

    class StoppedError(Exception):
        pass

    same = CLIPProcessor.from_pretrained(distilled / "student").tokenizer
    clip, calls = torch.nn.utils.clip_grad_norm_, []

    def stop(*given):
        calls.append(1)
        if len(calls) == 8:
            raise StoppedError
        return clip(*given)

    with monkeypatch.context() as patch:
        patch.setattr(distill.torch.nn.utils, "clip_grad_norm_", stop)
        patch.setattr(distill, "learn_tokenizer", lambda *_: same)  # two learned from the same texts may differ
        with pytest.raises(StoppedError):
            distill.main(arguments)
    assert not (tmp_path / "student").exists()
    state = tmp_path / "student.unfinished" / distill.STATE
    assert torch.load(state, weights_only=True)["step"] == 5
    capsys.readouterr()
    assert distill.main([*arguments, "--lr", "0.5"]) == 2
    assert mentions(capsys.readouterr().err.splitlines()[-1], state, "lr")
    assert distill.main(arguments) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert CLIPProcessor.from_pretrained(tmp_path / "student").tokenizer.get_vocab() == same.get_vocab()
    ids = torch.tensor(same(["zwei rote Sterne"])["input_ids"])
    embeds = [
        torch.nn.functional.normalize(clip_torch.CLIPModel.from_pretrained(folder).get_text_features(ids))
        for folder in (distilled / "student", tmp_path / "student")
    ]
    torch.testing.assert_close(*embeds, rtol=0, atol=LOSS_AFTER_STEPS)


def test_batches_cover_every_row_in_each_pass_and_are_of_similar_length():
    lengths = np.random.default_rng(0).integers(3, 30, 333)
    found = distill.batches(lengths, 8, np.random.default_rng(1))
    one_pass = [next(found) for _ in range(42)]
    assert sorted(np.concatenate(one_pass)) == list(range(333))
    assert np.mean([np.ptp(lengths[rows]) for rows in one_pass]) < 4 < np.ptp(lengths[:8])
    assert max(map(len, one_pass)) == 8


def run_distil(pairs, tmp_path, *options):
    return distill.main([str(TEACHER), str(pairs), str(tmp_path / "student"), *QUICK, *options])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\xff\xfe", []),
        (b"", []),
        (b"a dog\tein Hund\n\na cat\n", ["line 3"]),
        (b"a dog\tein Hund\tun chien\n", ["line 1"]),
        (b"a dog\t \n", ["line 1"]),
    ],
)
def test_files_that_are_not_of_pairs_are_answered_in_one_line(content, named, tmp_path, capsys):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_bytes(content)
    assert run_distil(pairs, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert mentions(line, pairs, *named)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.tsv"]


def test_bad_input_of_distillation_is_answered_in_one_line(distilled, tmp_path, capsys):
    pairs = distilled / "parallel.tsv"
    assert run_distil(tmp_path / "none.tsv", tmp_path) == 2
    assert mentions(capsys.readouterr().err.splitlines()[0], tmp_path / "none.tsv")
    (tmp_path / "student").write_text("a file")
    assert run_distil(pairs, tmp_path) == 2
    assert mentions(capsys.readouterr().err.splitlines()[-1], tmp_path / "student")
    for options, named in (
        (["--width", "30", "--heads", "4"], ["--width 30", "--heads 4"]),
        (["--positions", "2"], ["--positions", "'2'"]),
        (["--lr", "0"], ["--lr", "'0'"]),
    ):
        with pytest.raises(SystemExit) as stopped:
            run_distil(pairs, tmp_path, *options)
        assert stopped.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert mentions(line, *named)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["no JSON"], []),
        (['{"file_name": "a.png"}'], []),
        (['{"file_name": "a.png", "held_out": true, "texts": "a dog"}'], []),
        (['{"file_name": "a.png", "held_out": true, "texts": {"en": "a dog"}}'], [1]),
        (
            [
                '{"file_name": "a.png", "held_out": true, "texts": {"en": "a dog"}}',
                '{"file_name": "a.png", "held_out": true, "texts": {"de": "ein Hund"}}',
            ],
            ["line 2", "'de'"],
        ),
    ],
)
def test_tables_that_are_not_of_images_are_answered_in_one_line(lines, named, tmp_path, capsys):
    table = tmp_path / "test.jsonl"
    table.write_text("\n".join(lines))
    assert multilingual_report.main([str(table), str(TEACHER), str(TEACHER)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert mentions(line, table, *named)


def test_scores_are_those_of_the_librarys_retrieval():
    random = np.random.default_rng(0)
    images, texts = (random.normal(size=(size, 8)) for size in (20, 15))
    of_row = np.array([*range(20), 3, 4]), np.array([*range(15), *range(5), 7, 8])
    masks = {"all": np.ones(22, bool), "none": np.zeros(22, bool), "first": np.arange(22) < 3}
    found = multilingual_report.measure(images, texts, *of_row, masks)
    assert found["none"] == {}
    there, back = retrieval.from_embeddings(images, texts, of_row)
    once = multilingual_report.measure(images, texts, *of_row, {"images": np.arange(22) < 20})["images"]
    assert [once["image_to_text"][k] for k in ("1", "5", "10")] == list(there.recall.values())
    np.testing.assert_allclose(once["image_to_text"]["mrr"], there.mean_reciprocal_rank, **FLOAT64_OPERATION)
    once = multilingual_report.measure(images, texts, *of_row, {"texts": np.arange(22) < 15})["texts"]
    assert [once["text_to_image"][k] for k in ("1", "5", "10")] == list(back.recall.values())
    assert found["first"]["image_to_text"].keys() == {"1", "5", "10", "mrr"}


def test_texts_that_a_model_cuts_to_the_same_beginning_count_as_wrong(tmp_path):
    colours = {"red": (255, 0, 0), "blue": (0, 0, 255)}
    rows = []
    for name, colour in colours.items():
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
        rows.append(Row(f"{name}.png", False, {"en": f"a {name} star", "xx": f"{'word ' * 40}{name}"}))
    parallel_texts.write_rows(tmp_path / "test.jsonl", rows)
    models = dict.fromkeys(multilingual_report.MODELS, str(TEACHER))
    found = multilingual_report.report(tmp_path / "test.jsonl", models, "torch")["teacher"]["xx"]["all"]
    assert (found["image_to_text"]["1"], found["text_to_image"]["1"]) == (0, 0.5)


def test_held_out_texts_are_divided_by_their_words():
    texts = ["red fox", "red owl", "blue fox", "owl 2", "Fox: RED"]
    rows = [Row("", place > 1, {"en": text}) for place, text in enumerate(texts)]
    found = multilingual_report.subsets(rows, "en")
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items()} == {
        "all": [0, 1, 2, 3, 4],
        "learned": [0, 1],
        "held_out": [2, 3, 4],
        "known_words": [4],
        "new_words": [2, 3],
    }


def test_images_with_the_same_pixels_are_one():
    red, blue, tall = (
        Image.new("RGB", size, colour) for size, colour in (((4, 2), "red"), ((4, 2), "blue"), ((2, 4), "red"))
    )
    images, places = multilingual_report.distinct([red, blue, red.copy(), tall])
    assert places.tolist() == [0, 1, 0, 2]
    assert images == [red, blue, tall]


@pytest.mark.parametrize("kind", ["shapes", "emoji"])
def test_the_page_contains_what_was_measured(kind):
    page = (EXAMPLE / "README.md").read_text()
    results = json.loads((EXAMPLE / f"results-{kind}.json").read_text())
    missing = [line for lines in multilingual_report.tables(results) for line in lines if line not in page]
    assert missing == []
    assert list(results["student"]) == list({"shapes": shape_sentences.LANGUAGES, "emoji": emoji_names.TEMPLATES}[kind])
    for language, found in list(results["student"].items())[1:]:
        ours, theirs = (one["learned"]["image_to_text"]["mrr"] for one in (found, results["teacher"][language]))
        assert ours > theirs


def test_the_script_answers_bad_settings_in_one_line(tmp_path):
    for settings, named in (({"TEXTS": "birds"}, ["TEXTS", "birds"]), ({"TEXTS": "emoji"}, [tmp_path / "run-scratch"])):
        environment = {**os.environ, "BUILD": str(tmp_path), "EMOJI": str(tmp_path), **settings}
        ran = subprocess.run(
            ["sh", EXAMPLE / "multilingual.sh"], env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 2
        (line,) = ran.stderr.splitlines()
        assert mentions(line, *named)


def test_the_script_and_the_page_give_options_that_the_program_has(tmp_path, capsys):
    found = [shlex.split(line) for line in re.findall(r"set -- (.*)", (EXAMPLE / "multilingual.sh").read_text())]
    page = (EXAMPLE / "README.md").read_text().replace("\\\n", "")
    commands = re.findall(r"^python examples/multilingual/distill.py .*", page, re.MULTILINE)
    found += [shlex.split(line)[5:] for line in commands]
    assert len(found) == 3
    for options in found:  # another option would end the program before it looks for the file
        assert distill.main([str(TEACHER), str(tmp_path / "none.tsv"), str(tmp_path / "student"), *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert mentions(line, tmp_path / "none.tsv")
