"""The multilingual example: the tokenizer, distillation, and the script."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import clip_torch
from clip_core import CLIPProcessor, CLIPTokenizer
from support.messages import mentions
from support.tolerances import LOSS_AFTER_STEPS

sys.path.append(str(Path(__file__).parents[2] / "examples" / "multilingual"))

import distill
import multilingual_report
import parallel_texts
import shape_sentences

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "multilingual"
TEACHER = ROOT / "examples" / "shapes" / "checkpoint"
SMALL = ["--vocabulary", "600", "--positions", "32", "--width", "32", "--layers", "1", "--heads", "2"]
QUICK = [*SMALL, "--steps", "12", "--batch-size", "64", "--save-every", "5"]


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
