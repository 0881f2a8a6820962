"""Text features beside transformers 4.57.6, in PyTorch on this machine's CPU: outputs compared first, then timed.

The weights are random, of ViT-B/32's size, and drawn from a seed; the words too, so that nothing has to be downloaded.
Captions have 12 tokens on average, with BOS and EOS. `--labels 1000 --templates 80` is the whole of the last row.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from harness import COLUMNS, Row, compare
from report import Table

import clip_torch
from clip_core.encoding_texts import encode_texts
from clip_core.zero_shot import ZeroShotClassifier
from clip_torch.backend import TorchEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SAME = 1e-5  # of embeddings of unit norm; our own from fewer tokens are the same to 1e-6, which is compared too
LONGEST, EOS = 77, 49407
PEER = "transformers 4.57.6"
WHY_ONE = "a run reads 150 MB of weights for one token as for 77, which is most of what one short text takes"
_MEGABYTE = 1e6
_STATUS = Path("/proc/self/status")


def caption_lengths(count: int, seed: int = 0) -> np.ndarray:
    """Lengths in tokens like those of captions: from 5, most near 10, a few long; 12 on average."""
    lengths = np.random.default_rng(seed).gamma(2.0, 3.5, count).astype(int) + 5
    return np.minimum(lengths + round(12 - lengths.mean()), LONGEST).clip(4)


def padded(lengths: np.ndarray, seq: int) -> dict[str, Tensor]:
    """Ids and mask `(batch, seq)` of random words, as a tokenizer pads them."""
    random = np.random.default_rng(1)
    ids = np.full((len(lengths), seq), EOS)
    mask = (np.arange(seq) < lengths[:, None]).astype(np.int64)
    ids[mask == 1] = random.integers(0, 49406, mask.sum())
    ids[:, 0], ids[np.arange(len(lengths)), lengths - 1] = 49406, EOS
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


def feature_rows(folder: Path) -> list[Row]:
    """Captions padded to 77 tokens, and to the longest of the batch: by our model as it is loaded, and prepared."""
    ours = clip_torch.CLIPModel.from_pretrained(folder)
    prepared = clip_torch.CLIPModel.from_pretrained(folder).prepare_for_inference()
    peer = transformers.CLIPModel.from_pretrained(folder).eval()
    rows = []
    for batch in (1, 16, 64):
        lengths = caption_lengths(batch)
        for name, seq in (("77", LONGEST), ("the longest", int(lengths.max()))):
            inputs = padded(lengths, seq)
            check_same(ours, peer, inputs)
            title = f"{batch} caption(s) of {lengths.mean():.0f} tokens, at most {lengths.max()}, padded to {name}"
            rows.append(timed(title, ours, peer, inputs))
            check_same(prepared, peer, inputs)
            rows.append(timed(f"{title}, prepared", prepared, peer, inputs))
    for batch, longest in ((16, LONGEST), (64, 40)):
        lengths = np.linspace(5, longest, batch).astype(int)
        inputs = padded(np.random.default_rng(2).permutation(lengths), longest)
        check_same(ours, peer, inputs)
        rows.append(timed(f"{batch} texts of 5 to {longest} tokens alike, padded to the longest", ours, peer, inputs))
    return rows


@torch.inference_mode()
def check_same(ours: Any, peer: Any, inputs: dict[str, Tensor]) -> None:
    """Both give the same embeddings, and ours are those of every token read."""
    whole = ours.text_projection(ours.text_model(**inputs).pooler_output)
    embeds, read_whole, expected = (
        torch.nn.functional.normalize(features)
        for features in (ours.get_text_features(**inputs), whole, peer.get_text_features(**inputs))
    )
    torch.testing.assert_close(embeds, read_whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(embeds, expected, rtol=0, atol=SAME)


@torch.inference_mode()
def timed(name: str, ours: Any, peer: Any, inputs: dict[str, Tensor]) -> Row:
    """A row of the table."""
    return compare(
        name, lambda: ours.get_text_features(**inputs), lambda: peer.get_text_features(**inputs), peer_name=PEER
    )


class Words:
    """A processor in place of one with OpenAI's vocabulary: a word is a token, its number is in its name."""

    tokenizer = SimpleNamespace(model_max_length=LONGEST)

    def __call__(self, text: list[str], **_: object) -> dict[str, np.ndarray]:
        """Ids and mask, padded to the longest."""
        rows = [[49406, *(int(word[1:]) for word in one.split()), EOS] for one in text]
        longest = max(map(len, rows))
        ids = np.array([row + [EOS] * (longest - len(row)) for row in rows])
        return {"input_ids": ids, "attention_mask": (np.arange(longest) < [[len(row)] for row in rows]).astype(int)}


def words(lengths: np.ndarray, seed: int = 3) -> list[str]:
    """Texts of so many tokens each, BOS and EOS counted."""
    random = np.random.default_rng(seed)
    return [" ".join(f"w{number}" for number in random.integers(0, 49406, length - 2)) for length in lengths]


def stream_row(folder: Path) -> Row:
    """`encode_texts` beside what users of transformers write: batches as they come, padded to their longest."""
    ours = TorchEncoder(clip_torch.CLIPModel.from_pretrained(folder))
    peer = transformers.CLIPModel.from_pretrained(folder).eval()
    process, texts = Words(), words(caption_lengths(256))

    @torch.inference_mode()
    def theirs() -> np.ndarray:
        found = []
        for start in range(0, len(texts), 32):
            inputs = {name: torch.from_numpy(array) for name, array in process(texts[start : start + 32]).items()}
            found.append(torch.nn.functional.normalize(peer.get_text_features(**inputs)))
        return torch.cat(found).numpy()

    def own() -> np.ndarray:
        return encode_texts(ours, process, texts, batch_size=32)

    assert np.abs(own() - theirs()).max() < SAME
    return compare("256 captions by encode_texts, 32 at a time", own, theirs, peer_name=PEER)


def label_line(folder: Path, labels: int, templates: int) -> str:
    """Many labels in many templates as one streamed job; and again, from the cache."""
    encoder = TorchEncoder(clip_torch.CLIPModel.from_pretrained(folder))
    classifier = ZeroShotClassifier(encoder, Words())  # type: ignore[arg-type]
    names = words(np.random.default_rng(4).integers(3, 6, labels), seed=5)
    frames = [f"{text} {{}}" for text in words(np.random.default_rng(6).integers(4, 11, templates), seed=7)]
    classifier.embed_labels(names[:4], frames)  # warms up, below what is kept
    before = peak_memory()
    first, embeds = once(lambda: classifier.embed_labels(names, frames))
    grown = peak_memory() - before
    again, kept = once(lambda: classifier.embed_labels(names, frames))
    assert np.array_equal(embeds, kept)
    return (
        f"{labels} labels x {templates} templates: {first:.1f} s ({1e3 * first / labels / templates:.2f} ms a text), "
        f"{grown / _MEGABYTE:.0f} MB more at the peak; a second time {again:.2f} s, from the cache."
    )


def once(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds, and what was returned."""
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


def peak_memory() -> int:
    """The most bytes that this process has held; 0 where the system does not tell."""
    return int(_STATUS.read_text().partition("VmHWM:")[2].split()[0]) * 1024 if _STATUS.exists() else 0


def main() -> None:
    """Print the machine and the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=50)
    parser.add_argument("--templates", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the rows into this file too")
    options = parser.parse_args()
    versions = {module.__name__: module.__version__ for module in (torch, transformers, np)}
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {versions}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        clip_torch.CLIPModel(clip_torch.CLIPConfig()).save_pretrained(folder)
        rows = [*feature_rows(folder), stream_row(folder)]
        print(Table(["texts", *COLUMNS], [row.cells() for row in rows]))
        line = label_line(folder, options.labels, options.templates)
        print(f"\n{line}")
    if options.json is not None:
        content = {"versions": versions, "rows": [row.record() for row in rows], "labels": line}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
