"""Train a new text tower on parallel texts for an unchanged vision tower (Reimers and Gurevych 2020, as in M-CLIP).

    python examples/multilingual/distill.py TEACHER parallel.tsv STUDENT/

The student learns to embed a translation where the teacher embeds the original: the loss is their squared distance. Its
vision tower, projection of images and temperature are the teacher's own, so embeddings of images stay the same.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "captioning"))

import numpy as np
import torch
from command import Parser, answered, number, run
from parallel_texts import Pair, read_pairs
from torch.nn import functional as F
from tqdm import tqdm

import clip_torch
from clip_core import CLIPConfig, CLIPProcessor, CLIPTokenizerFast, ZeroShotClassifier
from clip_core.evaluation.texts import embed_texts
from clip_core.hub.files import staged
from clip_core.hub.printing import counted
from clip_core.hub.targets import check_folder
from clip_core.training.settings import decays, learning_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VOCABULARY = 8_000
POSITIONS = 64
WIDTH, LAYERS, HEADS = 128, 3, 4
STEPS = 4_000
BATCH_SIZE = 256
LR = 2e-3
SAVE_EVERY = 500
STATE = "state.pt"
_WARM_UP = 0.05  # fraction of the steps
_POOL = 16  # batches whose texts are sorted by length
_TEXT_PARTS = ("text_model", "text_projection")
# Every byte that can end a character of UTF-8. A byte that ends no word of the texts would otherwise have no token for
# the end of a word: it would be read as <|endoftext|>, and the model would ignore what follows.
_ENDS = tuple(map(chr, range(0x250)))


def learn_tokenizer(
    tokenizer: CLIPTokenizerFast, texts: Sequence[str], vocabulary: int, positions: int
) -> CLIPTokenizerFast:
    """Return a tokenizer with the rules of CLIP and a vocabulary learned from texts in any script.

    Args:
        tokenizer: the teacher's.
        texts: the texts.
        vocabulary: number of tokens; more if the bytes alone need more.
        positions: the longest text, in tokens.
    """
    learned = tokenizer.train_new_from_iterator([*texts, *_ENDS], vocabulary, show_progress=False)
    learned.model_max_length = positions
    return learned


def make_student(teacher: Any, tokenizer: CLIPTokenizerFast, sizes: dict[str, int], seed: int) -> Any:
    """Return a `clip_torch.CLIPModel`: the teacher's, except for a new text tower and its projection.

    Args:
        teacher: a `clip_torch.CLIPModel`.
        tokenizer: the student's tokenizer.
        sizes: of the text tower, by the names in its configuration; see `distil`.
        seed: seed of the new weights.
    """
    given = teacher.config.to_dict()
    given["text_config"] |= sizes | {
        "intermediate_size": 4 * sizes["hidden_size"],
        "vocab_size": len(tokenizer),  # fewer than asked for, if the texts have fewer pairs to merge
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = clip_torch.CLIPModel(CLIPConfig.from_dict(given))
    own = student.state_dict()
    kept = {name: tensor for name, tensor in teacher.state_dict().items() if not name.startswith(_TEXT_PARTS)}
    student.load_state_dict(own | kept)
    for name, parameter in student.named_parameters():
        parameter.requires_grad = name.startswith(_TEXT_PARTS)
    return student


def batches(lengths: np.ndarray, batch_size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the rows of batches forever, each row once in a pass; a batch holds texts of similar length.

    Args:
        lengths: of each text, in tokens.
        batch_size: texts per batch.
        random: the source of the order.
    """
    while True:
        order = random.permutation(len(lengths))
        for start in range(0, len(order), _POOL * batch_size):
            pool = order[start : start + _POOL * batch_size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            parts = np.array_split(pool, math.ceil(len(pool) / batch_size))
            yield from (parts[place] for place in random.permutation(len(parts)))


def train(
    student: Any, rows: Sequence[Sequence[int]], targets: np.ndarray, settings: dict[str, Any], state: Path
) -> None:
    """Train the student's text tower in place, and show the progress.

    Args:
        student: the model; only parameters that require gradients are changed.
        rows: ids of the translations.
        targets: the teacher's embeddings of their originals `(texts, projection)`, of unit norm.
        settings: `steps`, `batch_size`, `lr` (the highest: reached after a warm-up, and followed by a cosine to zero),
            `seed` of the order and `save_every`.
        state: the file to continue from, if it is there, and to save to every `save_every` steps.

    Raises:
        ValueError: if the file is of a run with other data or settings.
    """
    lengths = np.array([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), student.config.text_config.pad_token_id)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    wanted = torch.from_numpy(targets)
    steps = settings["steps"]
    parameters = {name: tensor for name, tensor in student.named_parameters() if tensor.requires_grad}
    groups = [
        {"params": [tensor for name, tensor in parameters.items() if decays(name) is decayed], "weight_decay": decay}
        for decayed, decay in ((True, 0.01), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings["lr"], betas=(0.9, 0.98))
    rate = partial(learning_rate, steps=steps, peak=1.0, warmup=max(1, int(_WARM_UP * steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    done = _restore(state, student, optimizer, schedule, settings) if state.exists() else 0
    order = itertools.islice(
        batches(lengths, settings["batch_size"], np.random.default_rng(settings["seed"])), done, steps
    )
    student.train()
    progress = tqdm(order, desc="training", unit="step", initial=done, total=steps)
    for step, chosen in enumerate(progress, done + 1):
        features = student.get_text_features(ids[chosen, : lengths[chosen].max()])
        # The mean squared error times the number of dimensions, so that losses of models of different sizes compare.
        loss = F.mse_loss(features, wanted[chosen]) * features.shape[1]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.4f}")
        if step % settings["save_every"] == 0 and step < steps:
            _save(state, step, student, optimizer, schedule, settings)
    student.eval()


def _save(state: Path, step: int, student: Any, optimizer: Any, schedule: Any, settings: dict[str, Any]) -> None:
    content = {"step": step, "settings": settings, "student": student.state_dict()}
    unfinished = state.with_name(f"{state.name}.part")
    torch.save(content | {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, unfinished)
    unfinished.replace(state)


def _restore(state: Path, student: Any, optimizer: Any, schedule: Any, settings: dict[str, Any]) -> int:
    content = torch.load(state, weights_only=True)
    other = [name for name, value in settings.items() if content["settings"].get(name) != value]
    if other:
        raise ValueError(
            f"{state} is of an unfinished run with other {', '.join(other)}; give the same to continue it, or remove "
            "its folder to begin again"
        )
    student.load_state_dict(content["student"])
    optimizer.load_state_dict(content["optimizer"])
    schedule.load_state_dict(content["schedule"])
    return int(content["step"])


def distil(teacher: str, pairs: Sequence[Pair], folder: Path, sizes: dict[str, int], settings: dict[str, Any]) -> None:
    """Train a student, and write it as a checkpoint in Hugging Face's layout.

    A run that was interrupted continues from its last state, in `FOLDER.unfinished`.

    Args:
        teacher: the CLIP model: a folder or a hub id.
        pairs: the parallel texts.
        folder: the folder to write to.
        sizes: of the text tower, by the names in its configuration.
        settings: see `train`.

    Raises:
        ValueError: if the teacher's tokenizer has no limit, or a state is of another run.
    """
    check_folder("folder", folder)  # before the work, not after it
    classifier = ZeroShotClassifier.from_pretrained(teacher, backend="torch", dtype="float32")
    sources, texts = zip(*pairs, strict=True)
    encoded = embed_texts(classifier, sources)
    if encoded.truncated:
        print(f"truncated: {counted(encoded.truncated, 'text')} longer than the teacher's limit", file=sys.stderr)
    known = {
        "teacher": classifier.encoder.text_fingerprint(),
        "texts": hashlib.sha256(repr(pairs).encode()).hexdigest(),
        "sizes": sizes,
    }
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    if (unfinished / STATE).exists():
        tokenizer = CLIPProcessor.from_pretrained(unfinished).tokenizer
    else:  # two learned from the same texts may break ties between pairs of characters differently
        tokenizer = learn_tokenizer(
            classifier.processor.tokenizer, texts, sizes["vocab_size"], sizes["max_position_embeddings"]
        )
        CLIPProcessor(classifier.processor.image_processor, tokenizer).save_pretrained(unfinished)
    rows = tokenizer(list(texts), truncation=True)["input_ids"]
    cut = sum(map(len, tokenizer(list(texts))["input_ids"])) - sum(map(len, rows))
    if cut:
        print(f"left out: {counted(cut, 'token')} beyond --positions {tokenizer.model_max_length}", file=sys.stderr)
    student = make_student(classifier.encoder.model, tokenizer, sizes, settings["seed"])
    train(student, rows, encoded.embeds[encoded.places], settings | known, unfinished / STATE)
    with staged(folder) as written:
        student.save_pretrained(written)
        CLIPProcessor(classifier.processor.image_processor, tokenizer).save_pretrained(written)
    shutil.rmtree(unfinished)
    trained = sum(parameter.numel() for parameter in student.parameters() if parameter.requires_grad)
    print(f"{folder}: a text tower of {trained / 1e6:.1f} million parameters and {len(tokenizer):,} tokens")


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, and train."""
    parser = Parser(prog="distill.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("teacher", help="a CLIP model: a folder or a hub id")
    parser.add_argument("pairs", type=Path, help="a text file: on each line a text, a tab and its translation")
    parser.add_argument("folder", type=Path, help="the folder to write to")
    for name, default, meaning in (
        ("vocabulary", VOCABULARY, "tokens of the new tokenizer"),
        ("positions", POSITIONS, "the longest text, in tokens"),
        ("width", WIDTH, "width of the text tower"),
        ("layers", LAYERS, "its layers"),
        ("heads", HEADS, "heads of its attention"),
        ("steps", STEPS, "number of steps"),
        ("batch-size", BATCH_SIZE, "texts per step"),
        ("save-every", SAVE_EVERY, "steps between two states to continue from"),
    ):
        least = 3 if name == "positions" else 1
        parser.add_argument(f"--{name}", type=number(int, least), default=default, help=f"{meaning} ({default})")
    parser.add_argument("--lr", type=number(float, 0, above=True), default=LR, help=f"highest learning rate ({LR})")
    parser.add_argument("--seed", type=number(int, 0), default=0)
    given = parser.parse_args(arguments)
    if given.width % given.heads:
        parser.error(f"--width {given.width} is not a multiple of --heads {given.heads}")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sizes = {
        "hidden_size": given.width,
        "num_hidden_layers": given.layers,
        "num_attention_heads": given.heads,
        "vocab_size": given.vocabulary,
        "max_position_embeddings": given.positions,
    }
    settings = {name: getattr(given, name) for name in ("steps", "batch_size", "lr", "seed", "save_every")}
    return answered(lambda: distil(given.teacher, read_pairs(given.pairs), given.folder, sizes, settings), "distill.py")


if __name__ == "__main__":
    run(main, "distill.py")
