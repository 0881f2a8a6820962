"""The captioning example: beam search, the decoder in numpy and in PyTorch, both ways of captioning, the programs."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clip_core import ZeroShotClassifier
from support.messages import mentions, naming
from support.tolerances import FLOAT32, FLOAT64_OPERATION, LITTLE_ABOVE_CHANCE, MEAN_COSINE, SHARE_OF_300

sys.path.append(str(Path(__file__).parents[2] / "examples" / "captioning"))
sys.path.append(str(Path(__file__).parents[2] / "examples" / "shapes"))

import beam
import captioner
import captions
import decoder
import demo_captions
import describe
import facts
import grammar
import measuring
import scenes
import shape_captions
import train_decoder
import words

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "captioning"
SHAPES = ROOT / "examples" / "shapes"
PICTURES = sorted((SHAPES / "pictures").glob("*.png"))


class Table:
    """A model of sequences whose log probabilities depend on the last two ids, from a table."""

    def __init__(self, ids, seed=0):
        random = np.random.default_rng(seed)
        logits = random.normal(0, 2, (ids + 1, ids + 1, ids))
        self.log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        self.steps = 0

    def start(self):
        return self.log_probs[-1, -1][None], [(-1, -1)]

    def advance(self, state, parents, words):
        self.steps += 1
        state = [(state[parent][1], word) for parent, word in zip(parents, words, strict=True)]
        return np.array([self.log_probs[two] for two in state]), state

    def score(self, ids, exponent):
        """The definition: the log probability of a sequence and its end, by the length penalty."""
        padded = [-1, -1, *ids, words.END]
        total = sum(
            self.log_probs[tuple(padded[place : place + 2])][padded[place + 2]] for place in range(len(ids) + 1)
        )
        return total / ((5 + len(ids) + 1) / 6) ** exponent


def every_sequence(ids, longest):
    return [some for length in range(longest) for some in itertools.product(range(1, ids), repeat=length)]


@pytest.mark.parametrize("exponent", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_search_that_is_wide_enough_finds_what_brute_force_finds(seed, exponent):
    table = Table(4, seed)
    exact = sorted(every_sequence(4, 5), key=lambda ids: -table.score(ids, exponent))
    found = beam.beam_search(table, *table.start(), end=words.END, longest=5, beams=len(exact), exponent=exponent)
    assert [one.ids for one in found] == exact
    expected = [table.score(ids, exponent) for ids in exact]
    np.testing.assert_allclose([one.score for one in found], expected, **FLOAT64_OPERATION)


def test_a_narrow_search_returns_its_beams_best_first_and_stops_when_the_rest_is_hopeless():
    table = Table(4, 1)
    table.log_probs[..., words.END] += 3  # sequences end early
    found = beam.beam_search(table, *table.start(), end=words.END, longest=60, beams=3)
    assert len(found) == 3
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert found[0].ids == min(every_sequence(4, 5), key=lambda ids: -table.score(ids, 0.0))
    assert table.steps < 20


def test_the_length_penalty_favours_long_sequences():
    assert [beam.penalty(1, 2.0), beam.penalty(7, 1.0), beam.penalty(9, 0.0)] == [1, 2, 1]
    table = Table(4, 2)

    def length(exponent):
        return len(beam.beam_search(table, *table.start(), end=0, longest=6, beams=500, exponent=exponent)[0].ids)

    assert length(0.0) < length(3.0)


def test_words_are_numbered_from_one_and_punctuation_is_a_word():
    vocabulary = words.Vocabulary.from_captions(["A star, on the left", "a half-moon"])
    assert vocabulary.words == (",", "a", "half-moon", "left", "on", "star", "the")
    assert len(vocabulary) == 8
    assert vocabulary.encode("a star, on the left") == [2, 6, 1, 5, 7, 4, words.END]
    assert vocabulary.decode([2, 6, 1, 5, 7, 4, words.END, 3]) == "a star, on the left"
    with pytest.raises(KeyError, match="moon"):
        vocabulary.encode("a moon")


TEXTS = [
    "a red star",
    "two blue rings on the left",
    "a big heart",
    "three crosses, at the top",
    "four",
    "a big red heart",
]


@pytest.fixture(scope="module")
def trained():
    """A tiny decoder trained on six captions, and their embeddings."""
    embeds = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0][: len(TEXTS)].astype(np.float32)
    sizes = {"hidden": 16, "layers": 2, "heads": 2, "prefix": 2}
    return train_decoder.train(embeds, TEXTS, steps=200, batch_size=16, lr=1e-2, noise=0.05, **sizes), embeds


def said(tiny, embeds, **options):
    searches = [
        beam.beam_search(tiny, *tiny.start(embed[None]), end=words.END, longest=tiny.settings.longest, **options)
        for embed in embeds
    ]
    return [tiny.vocabulary.decode(search[0].ids) for search in searches]


def test_a_decoder_says_the_caption_of_an_embedding_near_its_own(trained):
    tiny, embeds = trained
    assert said(tiny, embeds) == TEXTS
    random = np.random.default_rng(1)
    near = embeds + random.normal(0, 0.05, embeds.shape).astype(np.float32)
    assert said(tiny, near / np.linalg.norm(near, axis=1, keepdims=True), beams=3) == TEXTS


def test_training_follows_its_seed():
    embeds = np.eye(6, 8, dtype=np.float32)
    sizes = {"hidden": 8, "layers": 1, "heads": 2, "prefix": 1, "steps": 3}
    one, same, other = (train_decoder.train(embeds, TEXTS, seed=seed, **sizes).start(embeds)[0] for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > LITTLE_ABOVE_CHANCE


def test_the_network_in_numpy_is_the_one_that_was_trained(trained):
    tiny, embeds = trained
    ids = torch.tensor([tiny.vocabulary.encode("two blue rings on the left")] * 3)
    network = train_decoder.CaptionNetwork(tiny.settings, len(tiny.vocabulary))
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tiny.weights.items() if name != "probe"})
    with torch.no_grad():
        expected = network(torch.from_numpy(embeds[:3]), ids).log_softmax(-1).numpy()
    # One after another, with the rows reversed at every step.
    log_probs, state = tiny.start(embeds[:3])
    found = [log_probs]
    for place in range(ids.shape[1] - 1):
        log_probs, state = tiny.advance(state, [2, 1, 0], [int(ids[0, place])] * 3)
        found.append(log_probs if place % 2 else log_probs[::-1])
    np.testing.assert_allclose(np.stack(found, axis=1), expected, **FLOAT32)


def test_noise_has_the_given_deviation_and_leaves_unit_norms():
    embeds = torch.nn.functional.normalize(torch.ones(2000, 64), dim=-1)
    generator = torch.Generator().manual_seed(0)
    moved = train_decoder.noisy(embeds, 0.05, generator)
    np.testing.assert_allclose(moved.norm(dim=-1), 1, **FLOAT32)
    # Noise of length 0.05 * sqrt(64) at a right angle to the embedding, up to 1/64 of it.
    assert float((moved * embeds).sum(-1).mean()) == pytest.approx((1 + 0.05**2 * 64) ** -0.5, rel=MEAN_COSINE)
    np.testing.assert_array_equal(train_decoder.noisy(embeds, 0.0, generator), embeds)


def test_a_saved_decoder_is_loaded_in_half_precision(trained, tmp_path):
    tiny, embeds = trained
    tiny.save(tmp_path / "there")
    again = decoder.Decoder.load(tmp_path / "there")
    assert (again.settings, again.vocabulary) == (tiny.settings, tiny.vocabulary)
    assert said(again, embeds) == TEXTS
    for name, array in tiny.weights.items():
        np.testing.assert_array_equal(again.weights[name], array.astype(np.float16).astype(np.float32))


class Known:
    """A classifier whose texts have given embeddings."""

    def __init__(self, embeds):
        self.embeds, self.encoded = embeds, []

    def encode_texts(self, texts, **_):
        self.encoded += texts
        return np.stack([self.embeds[text] for text in texts])


def test_clip_chooses_among_the_candidates(trained):
    tiny, embeds = trained
    found = captioner.Captioner(Known({TEXTS[0]: embeds[0], "b": embeds[1], "c": embeds[2]}), tiny)
    assert [len(some) for some in found.candidates(embeds[:2], beams=4)] == [4, 4]
    assert [some[0] for some in found.candidates(embeds[:2])] == TEXTS[:2]
    order = found.rerank(embeds[[2, 1]], [[TEXTS[0], "b", "c"], ["c", "b"]])
    assert [some[0] for some in order] == ["c", "b"]
    assert sorted(order[0]) == [TEXTS[0], "b", "c"]


def test_a_decoder_for_another_model_is_refused(trained):
    tiny, embeds = trained
    for other in (embeds[1], embeds[0][:4]):
        with pytest.raises(ValueError, match=naming(repr(TEXTS[0]), "train_decoder.py")):
            captioner.Captioner(Known({TEXTS[0]: other}), tiny)


def test_a_guided_search_that_is_wide_enough_finds_the_best_phrase_of_the_grammar():
    small = grammar.Grammar((("a", "b", "c"), ("", "x", "y"), ("", "z")), "".join)
    texts = ["".join(options) for count in (1, 2, 3) for options in itertools.product(*small.slots[:count])]
    random = np.random.default_rng(0)
    known = Known({text: random.normal(size=6) for text in texts})
    images = random.normal(size=(5, 6))
    search = grammar.GuidedSearch(known, small)
    best = [
        max(map("".join, itertools.product(*small.slots)), key=lambda text: known.embeds[text] @ image)
        for image in images
    ]
    assert search(images, beams=9) == best
    assert len(known.encoded) == len(set(known.encoded))
    first = [max(small.slots[0], key=lambda text: known.embeds[text] @ image) for image in images]
    assert [text[0] for text in search(images, beams=1)] == first


def test_the_grammar_tells_every_scene_and_writes_what_the_captions_write():
    random = np.random.default_rng(0)
    for _ in range(100):
        scene = scenes.draw_scene(random)
        chosen = [scene.number, scene.colour, scene.shape, scene.size, captions.PLACES[scene.position][0]]
        ground = f"{scene.texture} {captions.ground_words(scene.ground)}"
        assert all(option in slot for option, slot in zip([*chosen, ground], shape_captions.GRAMMAR.slots, strict=True))
        assert shape_captions.phrase([*chosen, ground]) == captions.full_caption(scene).removesuffix(" ")
    assert [shape_captions.phrase(some) for some in (["one"], ["two"], ["one", "orange"], ["one", "red", "cross"])] == [
        "a shape",
        "two shapes",
        "an orange shape",
        "a red cross",
    ]


def test_facts_are_read_from_every_sentence_of_the_generator():
    random = np.random.default_rng(0)
    for _ in range(500):
        scene = scenes.draw_scene(random)
        stated = facts.facts_of(captions.caption(scene, random))
        assert stated == {name: getattr(scene, name) for name in stated}
        assert len(facts.facts_of(captions.full_caption(scene))) == 7
        assert facts.is_wholly_right(captions.full_caption(scene), scene)


@pytest.mark.parametrize(
    ("caption", "right", "wholly"),
    [
        ("two small red stars on the left on a plain light blue background", True, True),
        ("a picture of two red stars", True, True),
        ("two red stars on a dotted background, on the left", True, False),
        ("two large red stars", True, False),
        ("red stars", False, False),
        ("two stars", False, False),
        ("two red shapes", False, False),
        ("two blue stars", False, False),
        ("three red stars", False, False),
        ("two red star", False, False),
        ("a red stars", False, False),
        ("two red red stars", False, False),
        ("", False, False),
    ],
)
def test_a_caption_is_right_with_its_number_colour_and_shape_and_wholly_right_with_all(caption, right, wholly):
    scene = scenes.Scene("red", "star", "small", "two", "left", "sky", "plain")
    assert (facts.is_right(caption, scene), facts.is_wholly_right(caption, scene)) == (right, wholly)


def test_the_captions_to_learn_from_hold_no_held_out_pair_and_all_that_is_wanted(tmp_path):
    assert shape_captions.main([str(tmp_path / "new" / "captions.txt"), "--count", "300"]) == 0
    lines = (tmp_path / "new" / "captions.txt").read_text().splitlines()
    assert lines == shape_captions.corpus(300)
    assert lines != shape_captions.corpus(300, seed=1)
    stated = [facts.facts_of(line) for line in lines]
    assert all(one.keys() >= set(facts.ESSENTIAL) for one in stated)
    assert not {(one["colour"], one["shape"]) for one in stated} & set(scenes.HELD_OUT)


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
