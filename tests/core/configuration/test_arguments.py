"""Integers and lists are validated where they are given: 1.5 and True are not integers, and a string is not a list."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from clip_core.configuration.arguments import LARGEST, check_integers, check_surrogates, is_integer, to_int
from clip_core.data import PairLoader, open_pairs
from clip_core.evaluation import metrics, zero_shot
from clip_core.evaluation.images import embed_images
from clip_core.evaluation.labelled import stratified
from clip_core.evaluation.texts import embed_texts
from clip_core.images.processor import CLIPImageProcessor
from clip_core.modeling.embeddings import new_vocab_size
from clip_core.modeling.pruning import plan_pruning
from clip_core.tasks import ZeroShotClassifier, encode_image_batches, encode_images, encode_text_batches, encode_texts
from clip_core.tokenization import CLIPTokenizer, CLIPTokenizerFast
from clip_core.training import Run, RunFolder, TrainSettings, open_log
from converters.verification.verify import verify
from converters.writing import parse_size
from support.configs import tiny_config
from support.messages import naming
from support.training_data import make_processor, write_folder
from support.vocabulary import write_vocabulary

CLASSIFIER = ZeroShotClassifier(None, None)
ROWS = np.ones(3, np.int64)
PIXELS = np.zeros((8, 9, 3), np.uint8)
SIZES = ("size", "crop_size")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("pairs"), 4)


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return make_processor(tmp_path_factory.mktemp("processor"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, True), (np.int64(3), True), (np.uint8(3), True), (True, False), (np.True_, False), (1.0, False),
     (math.nan, False), ("3", False), (None, False), (np.float32(1), False)],
)  # fmt: skip
def test_integers_are_those_of_python_and_numpy(value, expected):
    assert is_integer(value) is expected


@pytest.mark.parametrize("value", [1.5, True, "2", None, math.nan, 0, -1, LARGEST + 1, np.float64(2)])
def test_an_argument_that_is_not_an_integer_of_its_range_is_named(value):
    with pytest.raises(ValueError, match=naming(f"batch_size={value!r}")):
        check_integers(batch_size=(value, 1))


def test_integers_of_the_range_are_accepted():
    check_integers(batch_size=(1, 1), seed=(0, 0), keep=(LARGEST, 1), count=(np.int32(2), 1))
    check_integers(optional=True, num_threads=(None, 1))
    check_integers(most=math.inf, max_length=(int(1e30), 0))


def test_a_length_from_a_file_may_be_a_float():
    assert to_int("model_max_length", 1e30) == int(1e30)
    with pytest.raises(ValueError, match=naming("model_max_length=76.5")):
        to_int("model_max_length", 76.5)


def chance(k=1, candidates=2):
    return metrics.chance_at(k, [1], candidates)


# The functions that take integers themselves: the name of each argument -> a call with a value for it.
CALLS = {
    "encode_images": ("batch_size", lambda value: encode_images(None, None, [], batch_size=value)),
    "encode_image_batches": ("batch_size", lambda value: encode_image_batches(None, None, [], batch_size=value)),
    "encode_images, threads": ("num_threads", lambda value: encode_images(None, None, [], num_threads=value)),
    "encode_texts": ("batch_size", lambda value: encode_texts(None, None, [], batch_size=value)),
    "encode_text_batches": ("batch_size", lambda value: encode_text_batches(None, None, [], batch_size=value)),
    "embed_labels": ("batch_size", lambda value: CLASSIFIER.embed_labels(["a"], batch_size=value)),
    "classifier": ("batch_size", lambda value: CLASSIFIER.encode_images([], batch_size=value)),
    "embed_images": ("batch_size", lambda value: embed_images(None, None, batch_size=value)),
    "embed_images, workers": ("workers", lambda value: embed_images(None, None, workers=value)),
    "embed_texts": ("batch_size", lambda value: embed_texts(None, ["a"], batch_size=value)),
    "stratified": ("seed", lambda value: stratified(ROWS, 0.5, value, "test")),
    "recall_at": ("k", lambda value: metrics.recall_at(ROWS, value)),
    "chance_at": ("k", lambda value: chance(k=value)),
    "chance_at, candidates": ("candidates", lambda value: chance(candidates=value)),
    "preprocess": ("num_threads", lambda value: CLIPImageProcessor()(PIXELS, num_threads=value)),
    "new_vocab_size": ("new_num_tokens", lambda value: new_vocab_size(8, value, None)),
    "new_vocab_size, multiple": ("pad_to_multiple_of", lambda value: new_vocab_size(8, None, value)),
    "RunFolder": ("keep", lambda value: RunFolder("run", value)),
    "RunFolder.read": ("step", lambda value: RunFolder("run").read(value)),
    "Run": ("save_every", lambda value: Run(*[None] * 5, save_every=value)),
    "open_log": ("resumed_at", lambda value: open_log("jsonl", "run", resumed_at=value, settings={})),
    "max_shard_size": ("max_shard_size", parse_size),
}


@pytest.mark.parametrize("value", [1.5, True, -1])
@pytest.mark.parametrize("call", CALLS)
def test_every_function_names_its_integer(call, value):
    name, function = CALLS[call]
    with pytest.raises(ValueError, match=naming(f"{name}={value!r}")):
        function(value)


@pytest.mark.parametrize("value", [1.5, True])
@pytest.mark.parametrize("name", ["batch_size", "epochs", "accum", "loss_chunk", "seed"])
def test_a_training_setting_is_an_integer(name, value):
    with pytest.raises(ValueError, match=naming(f"{name}={value!r}")):
        TrainSettings(**{name: value})


@pytest.mark.parametrize("value", [math.inf, math.nan, "1", True])
@pytest.mark.parametrize("name", ["lr", "warmup", "weight_decay", "epsilon", "beta_1", "beta_2"])
def test_a_training_rate_is_a_finite_number(name, value):
    with pytest.raises(ValueError, match=naming(f"{name}={value!r}")):
        TrainSettings(**{name: value})


@pytest.mark.parametrize("value", [1.5, True])
@pytest.mark.parametrize(
    "name",
    ["batch_size", "max_length", "seed", "shuffle_buffer", "process_index", "process_count", "num_workers", "prefetch",
     "max_broken"],
)  # fmt: skip
def test_a_loader_names_its_integers(folder, processor, name, value):
    with pytest.raises(ValueError, match=naming(f"{name}={value!r}")):
        PairLoader(folder, processor, **{"batch_size": 2, name: value})


@pytest.mark.parametrize("value", [1.5, True, -1])
def test_the_length_of_a_stream_is_an_integer(value):
    with pytest.raises(ValueError, match=naming(f"length={value!r}")):
        open_pairs(iter([]), length=value)


@pytest.mark.parametrize("value", [1.5, True, "30", (30, True)])
@pytest.mark.parametrize("name", SIZES)
def test_a_size_is_of_integers(name, value):
    with pytest.raises(ValueError, match=naming(name)):
        CLIPImageProcessor(**{name: value})


@pytest.mark.parametrize("heads", [{True: [0]}, {1.0: [0]}, {0: [True]}, {0: [1.0]}, {0: ["0"]}])
def test_layers_and_heads_are_integers(heads):
    with pytest.raises(ValueError, match=r"True|1\.0|'0'"):
        plan_pruning(heads, tiny_config().text_config)


@pytest.mark.parametrize("value", [1.5, True, -1])
@pytest.mark.parametrize("name", ["max_length", "stride", "pad_to_multiple_of"])
@pytest.mark.parametrize("cls", [CLIPTokenizer, CLIPTokenizerFast])
def test_a_tokenizer_names_its_integers(tmp_path, cls, name, value):
    tokenizer = cls(**write_vocabulary(tmp_path), model_max_length=9)
    for call in (tokenizer, tokenizer.encode):
        with pytest.raises(ValueError, match=naming(f"{name}={value!r}")):
            call("a", padding=True, truncation=True, **{name: value})


@pytest.mark.parametrize("cls", [CLIPTokenizer, CLIPTokenizerFast])
def test_a_tokenizer_takes_lists_where_it_says_so(tmp_path, cls):
    files = write_vocabulary(tmp_path)
    for name in ("model_input_names", "additional_special_tokens"):
        with pytest.raises(TypeError, match=naming(f"{name}='<a>'")):
            cls(**files, **{name: "<a>"})
    tokenizer = cls(**files)
    with pytest.raises(TypeError, match=naming("additional_special_tokens='<a>'")):
        tokenizer.additional_special_tokens = "<a>"


@pytest.mark.parametrize("value", ["ab", b"ab"])
def test_a_single_string_is_not_several(value):
    calls = {
        "texts": [lambda: encode_texts(None, None, value), lambda: embed_texts(CLASSIFIER, value)],
        "labels": [lambda: CLASSIFIER.embed_labels(value), lambda: zero_shot.evaluate(None, "", labels=value)],
        "backends": [lambda: verify("model", backends=value)],
    }
    for name, functions in calls.items():
        for function in functions:
            with pytest.raises(TypeError, match=naming(f"{name}={value!r}")):
                function()


@pytest.mark.parametrize(
    "image", ["cat.png", b"bytes", Image.new("RGB", (8, 9)), PIXELS, PIXELS[..., 0], np.moveaxis(PIXELS, -1, 0)]
)
def test_a_single_image_is_not_several(image):
    calls = [
        lambda: CLASSIFIER.classify(image, None),
        lambda: CLASSIFIER.encode_images(image),
        lambda: encode_image_batches(None, None, image),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=naming("images", type(image).__name__)):
            call()


def test_half_a_surrogate_pair_is_named_with_its_place():
    with pytest.raises(ValueError, match=naming(repr("ab\ud83d"), 2, "U+D83D", "errors='replace'")):
        check_surrogates("\u00e9", "ab\ud83d", "c")
    assert check_surrogates("\u00e9", "\U0001f600") is None


def test_the_first_argument_that_is_too_small_is_named_with_the_least():
    check_integers(batch_size=(1, 1), seed=(0, 0))
    check_integers(optional=True, num_threads=(None, 1))
    with pytest.raises(ValueError, match=naming("top_k=2", 3)):
        check_integers(batch_size=(1, 1), top_k=(2, 3), seed=(-1, 0))
