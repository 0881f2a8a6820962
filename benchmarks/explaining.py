"""Row 12: explanations of trained models, on pictures of two things; the text names one.

- Pointing game: how often the most relevant patch touches the named thing. "Centre" asks more: the patch's centre lies
  on it. Patches that are equally relevant count by their share.
- Inside: the share of relevance within the named thing's pixels.
- Deletion: the named text's probability among all texts, while patches turn into the picture's mean colour, the most
  relevant first, averaged over the steps; lower is better. Insertion: the same while they appear; higher is better.

The baselines do not depend on the text: a heatmap that falls off from the centre, and the attention of the class token
in the last layer. The demo model has 16 patches and the model of emoji has 64; both have four layers. Both things are
known: the model gives each its right name, among all texts, in the same picture without the other thing (shapes), or in
the drawing itself (emoji). Emoji are left out if their folder is not beside the project's.

The words of a text that names a shape which is alone in its picture, such as "this is a red star", are judged by:

- Names it: how often the most relevant word is the colour or the shape.
- Share: the share of relevance that these two words have together.
- Logit lost: the difference to the logit of the text without the most relevant word.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import composites
import numpy as np
from goals import at_least
from report import Report, Table

from clip_core.tasks.explain import Explainer, relevance
from clip_core.tasks.texts import tokenize_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from composites import Composite
    from settings import Settings

CENTRE, ATTENTION = "centre", "attention of the last layer"
MEASURES = ("pointing game", "centre", "inside", "deletion", "insertion")
WORD_MEASURES = ("names it", "share", "logit lost")
SENTENCES = ("this is {}", "a picture of {}")
POINTING = 0.9
RECOMMENDED = "chefer, all layers"
_STEPS = 8  # of deletion and insertion
# The standard error of a share near 0.9 is 0.01 for a thousand texts; it would be 0.02 for two hundred.
_SHAPES, _EMOJI, _FEW = 500, 60, 4


def report(settings: Settings) -> Report:
    """Judge both methods and the baselines on every kind of picture."""
    shapes, emoji = (_FEW, _FEW) if settings.quick else (_SHAPES, _EMOJI)
    demo = Judge(str(composites.DEMO / "checkpoint"), composites.shape_texts())
    kinds = {
        "Two large shapes": (demo, demo.known(composites.shapes(shapes, large=True, seed=0))),
        "Two shapes, small or large": (demo, demo.known(composites.shapes(shapes, large=False, seed=1))),
    }
    written = Report("explaining", "Explanations", __doc__ or "", quick=settings.quick)
    if composites.EMOJI.exists():
        texts = composites.emoji_texts()
        judge = Judge(str(composites.EMOJI / "checkpoint"), list(texts.values()))
        files = judge.known_emoji(texts)
        kinds[f"Two of {len(files)} emoji"] = (judge, composites.emoji(emoji, files, seed=2))
    else:
        written.notes.append(f"Emoji were left out: there is no folder {composites.EMOJI.name} beside the project's.")
    found = {kind: judge.scores(pictures) for kind, (judge, pictures) in kinds.items()}
    written.tables = [table(f"{kind}: {2 * len(kinds[kind][1])} texts", scores) for kind, scores in found.items()]
    of_words = demo.scores_of_words(kinds["Two shapes, small or large"][1])
    count = 2 * len(SENTENCES) * len(kinds["Two shapes, small or large"][1])
    written.tables.append(table(f"Words of {count} texts", of_words, "words", WORD_MEASURES))
    written.measurements = [
        {"kind": kind, "heatmap": name} | row for kind in found for name, row in found[kind].items()
    ]
    written.measurements += [{"kind": "words", "words": name} | row for name, row in of_words.items()]
    written.goals = [
        at_least(f"{kind}: pointing game of {RECOMMENDED}", found[kind][RECOMMENDED]["pointing game"], POINTING)
        for kind in list(found)[:2]
    ]
    return written


def table(
    title: str, scores: dict[str, dict[str, float]], what: str = "heatmap", measures: Sequence[str] = MEASURES
) -> Table:
    """Return the measures of every heatmap."""
    rows = [[name, *(f"{row[measure]:.2f}" for measure in measures)] for name, row in scores.items()]
    return Table([what, *measures], rows, title)


class Judge:
    """A trained model whose explanations are judged, in PyTorch.

    Args:
        checkpoint: the model.
        texts: the texts among which probabilities are computed.
    """

    def __init__(self, checkpoint: str, texts: list[str]) -> None:
        self.explainer = Explainer.from_pretrained(checkpoint, backend="torch", device="cpu")
        self.encoder, self.texts = self.explainer.encoder, texts
        self.patch_size = self.encoder.config.vision_config.patch_size
        self._embeds = self.encoder.encode_texts(*tokenize_texts(self.explainer.processor, texts))

    def known(self, pictures: Sequence[Composite]) -> list[Composite]:
        """Return the pictures of two things that the model names rightly if each is alone."""
        return [
            picture
            for picture in pictures
            if all(self._names(image, text) for image, text in zip(picture.alone, picture.texts, strict=True))
        ]

    def known_emoji(self, texts: dict[str, str]) -> list[str]:
        """Return the files of emoji that the model names rightly."""
        return [file for file, text in texts.items() if self._names(composites.EMOJI / "pictures" / file, text)]

    def _names(self, image: Any, text: str) -> bool:
        """Return True if a text is the most probable one for an image."""
        return self.texts[int(self.probabilities(self._pixels(image))[0].argmax())] == text

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Return the probability of each text `(pictures, texts)` for pixel values."""
        logits = self.encoder.logits_per_image(self.encoder.encode_images(pixels), self._embeds).astype(np.float64)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        normalized: np.ndarray = exponents / exponents.sum(axis=1, keepdims=True)
        return normalized

    def scores(self, pictures: Sequence[Composite]) -> dict[str, dict[str, float]]:
        """Return the mean of each measure over pictures and texts, by heatmap."""
        found: dict[str, list[list[float]]] = {}
        for picture in pictures:
            pixels = self._pixels(picture.image)
            maps = self.heatmaps(pixels, picture.texts)
            for place, (text, mask) in enumerate(zip(picture.texts, picture.masks, strict=True)):
                for name, both in maps.items():
                    place_scores = [*pointing(both[place], mask), inside(both[place], mask)]
                    place_scores += self.deletion_and_insertion(pixels, both[place], self.texts.index(text))
                    found.setdefault(name, []).append(place_scores)
        means = {name: np.mean(rows, axis=0).tolist() for name, rows in found.items()}
        return {name: dict(zip(MEASURES, row, strict=True)) for name, row in means.items()}

    def scores_of_words(self, pictures: Sequence[Composite]) -> dict[str, dict[str, float]]:
        """Return the mean of each measure of words over texts that name a thing alone, by start layer."""
        found: dict[str, list[list[float]]] = {}
        for picture in pictures:
            for image, name in zip(picture.alone, picture.texts, strict=True):
                texts = [sentence.format(name) for sentence in SENTENCES]
                lost = [self._losses(image, text) for text in texts]
                named = [[word in name.split()[1:] for word in text.split()] for text in texts]
                for start, layers in ((-1, "last layer"), (0, "all layers")):
                    explained = self.explainer(image, texts, start_layer_text=start).explanations
                    shares = [np.array([word.share for word in one.words]) for one in explained]
                    found.setdefault(f"chefer, {layers}", []).extend(map(word_scores, shares, named, lost))
                alike = [np.full(len(words), 1 / len(words)) for words in named]
                found.setdefault("all words alike", []).extend(map(word_scores, alike, named, lost))
        means = {name: np.mean(rows, axis=0).tolist() for name, rows in found.items()}
        return {name: dict(zip(WORD_MEASURES, row, strict=True)) for name, row in means.items()}

    def _losses(self, image: Any, text: str) -> np.ndarray:
        """Return the difference to the logit of a text without each of its words: `(words,)`."""
        words = text.split()
        texts = [text, *(" ".join(words[:place] + words[place + 1 :]) for place in range(len(words)))]
        embeds = self.encoder.encode_texts(*tokenize_texts(self.explainer.processor, texts))
        logits = self.encoder.logits_per_image(self.encoder.encode_images(self._pixels(image)), embeds)[0]
        losses: np.ndarray = logits[0] - logits[1:]
        return losses

    def heatmaps(self, pixels: np.ndarray, texts: list[str]) -> dict[str, np.ndarray]:
        """Return the heatmaps of a picture for texts `(texts, rows, columns)`, by method and start layer."""
        ids, mask = tokenize_texts(self.explainer.processor, texts)
        of_logits = self.encoder.logit_gradients(pixels, ids, mask, first_image_layer=0, first_text_layer=0).image
        of_layers = self.encoder.layer_gradients(pixels, self.encoder.encode_texts(ids, mask), first_layer=0)
        starts = {"last layer": -1, "last 2 layers": -2, "all layers": 0}
        found = {CENTRE: relevance.image_maps(np.repeat(from_centre(of_logits[0].probabilities.shape[-1]), 2, axis=0))}
        found[ATTENTION] = relevance.image_maps(relevance.attention(of_logits)[:, 0])
        for name, start in starts.items():
            found[f"chefer, {name}"] = relevance.image_maps(relevance.chefer(of_logits[start:])[:, 0])
        for name, start in starts.items():
            found[f"legrad, {name}"] = relevance.image_maps(relevance.legrad(of_layers[start:]))
        return found

    def deletion_and_insertion(self, pixels: np.ndarray, heatmap: np.ndarray, text: int) -> list[float]:
        """Return the mean probability of a text while patches go, and while they come, the most relevant first."""
        order = np.argsort(-heatmap.ravel(), kind="stable")
        steps = np.linspace(0, len(order), _STEPS + 1).round().astype(int)
        chosen = np.zeros((len(steps), len(order)), bool)
        for row, count in enumerate(steps):
            chosen[row, order[:count]] = True
        side = np.ones((1, self.patch_size, self.patch_size), bool)
        chosen_pixels = np.kron(chosen.reshape(-1, *heatmap.shape), side)[:, None]
        plain = pixels.mean(axis=(2, 3), keepdims=True)
        both = np.concatenate([np.where(chosen_pixels, plain, pixels), np.where(chosen_pixels, pixels, plain)])
        curves = self.probabilities(both.astype(np.float32))[:, text].reshape(2, -1)
        means: list[float] = ((curves[:, 1:] + curves[:, :-1]) / 2).mean(axis=1).tolist()
        return means

    def _pixels(self, image: Any) -> np.ndarray:
        pixels: np.ndarray = self.explainer.processor(images=[image], return_tensors="np")["pixel_values"]
        return pixels


@cache
def from_centre(tokens: int) -> np.ndarray:
    """Return the baseline's relevance `(1, tokens)`, the class token first: the nearer to the centre, the more."""
    side = int((tokens - 1) ** 0.5)
    places = np.arange(side) - (side - 1) / 2
    distances = np.hypot(places[:, None], places[None])
    return np.append(0, -distances.ravel())[None]


def pointing(heatmap: np.ndarray, mask: np.ndarray) -> list[float]:
    """Return the shares of the most relevant patches that touch a thing, and that have their centre on it.

    Args:
        heatmap: `(rows, columns)`.
        mask: the thing's pixels, `(height, width)`, bool.
    """
    side = mask.shape[0] // heatmap.shape[0]
    patches = mask.reshape(heatmap.shape[0], side, heatmap.shape[1], side)
    highest = heatmap == heatmap.max()
    centres = mask[side // 2 :: side, side // 2 :: side]
    return [float(patches.any(axis=(1, 3))[highest].mean()), float(centres[highest].mean())]


def word_scores(shares: np.ndarray, named: list[bool], lost: np.ndarray) -> list[float]:
    """Return the measures of a text's words; words that are equally relevant count by their share.

    Args:
        shares: the relevance of each word, `(words,)`.
        named: True for the words that name the thing.
        lost: the difference to the logit of the text without each word, `(words,)`.
    """
    highest = shares == shares.max()
    return [float(np.mean(np.array(named)[highest])), float(shares[named].sum()), float(lost[highest].mean())]


def inside(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of relevance within a thing's pixels; an empty heatmap counts as a uniform one.

    Args:
        heatmap: `(rows, columns)`.
        mask: the thing's pixels, `(height, width)`, bool.
    """
    pixels = relevance.upsampled(heatmap[None], mask.shape[0] // heatmap.shape[0])[0]
    return float(pixels[mask].sum() / pixels.sum()) if pixels.any() else float(mask.mean())
