"""Zero-shot classification and retrieval in many languages, by the teacher and by the student.

    python examples/multilingual/multilingual_report.py test.jsonl TEACHER STUDENT --json results.json

Each image is compared with the texts about all images in one language. Prints the tables of the README.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "captioning"))

import numpy as np
import regex
from command import Parser, answered, run
from parallel_texts import plain, read_rows
from tqdm import tqdm

from clip_core import ZeroShotClassifier
from clip_core.backends import backend_names
from clip_core.evaluation.metrics import mean_reciprocal_rank, ranks, recall_at
from clip_core.evaluation.texts import embed_texts
from clip_core.hub.files import write_text
from clip_core.images.inputs import load_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parallel_texts import Row
    from PIL import Image

MODELS = ("teacher", "student")
DIRECTIONS = ("image_to_text", "text_to_image")
AT = (1, 5, 10)
# The images that the figures are about; the candidates are always all texts, or all images.
SUBSETS = ("all", "learned", "held_out", "known_words", "new_words")
_ROUNDING = 1e-4  # of embeddings of unit norm
# Of the tables as they are printed. Each is a Markdown table, and one of the README's.
TITLES = (
    "Learned texts. Recall at 1, 5 and 10; mean reciprocal rank (MRR, 0 to 1); the teacher's recall with these texts:",
    "Held-out texts. The same:",
    "Held-out texts whose words all occur in learned texts, and the others. Recall from image to text:",
)
_BY_SUBSET = (
    "language", "image to text: @1", "@5", "@10", "MRR", "text to image: @1", "@5", "@10", "MRR", "teacher @1",
)  # fmt: skip
_BY_WORDS = ("language", "known words: images", "@1", "@5", "@10", "new words: images", "@1", "@5", "@10")
_WORD = regex.compile(r"\p{L}+|\p{N}")


def words(text: str) -> set[str]:
    """Return the words of a text: runs of letters, and digits, as CLIP's tokenizer splits them.

    Args:
        text: the text.
    """
    return set(_WORD.findall(plain(text)))


def subsets(rows: Sequence[Row], language: str) -> dict[str, np.ndarray]:
    """Return which images each subset has, `(images,)`, bool.

    Held-out texts are divided into those whose words all occur in texts that were learned, and the others.

    Args:
        rows: the rows of the table.
        language: the language of the texts.
    """
    held_out = np.array([row.held_out for row in rows])
    of_each = [words(row.texts[language]) for row in rows]
    learned = set[str]().union(*(some for some, out in zip(of_each, held_out, strict=True) if not out))
    known = np.array([some <= learned for some in of_each])
    chosen = (np.ones_like(held_out), ~held_out, held_out, held_out & known, held_out & ~known)
    return dict(zip(SUBSETS, chosen, strict=True))


def distinct(images: Sequence[Image.Image]) -> tuple[list[Image.Image], np.ndarray]:
    """Return the images with different pixels, and the place among them of each image: `(images,)`.

    Args:
        images: the images.
    """
    places: dict[tuple[tuple[int, int], bytes], int] = {}
    keys = [(image.size, image.tobytes()) for image in images]
    for key in keys:
        places.setdefault(key, len(places))
    found = np.array([places[key] for key in keys])
    return [images[first] for first in np.unique(found, return_index=True)[1]], found


def scores(found: np.ndarray) -> dict[str, float]:
    """Return recall at 1, 5 and 10, and the mean reciprocal rank as "mrr".

    Args:
        found: `(queries,)`, ranks from 1.
    """
    return {**{str(k): recall_at(found, k) for k in AT}, "mrr": mean_reciprocal_rank(found)}


def measure(
    image_embeds: np.ndarray,
    text_embeds: np.ndarray,
    images: np.ndarray,
    texts: np.ndarray,
    chosen: Mapping[str, np.ndarray],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the scores of each subset in both directions; `{}` for an empty subset.

    A text is right for an image if it is about an image with the same pixels.

    Args:
        image_embeds: distinct images `(images, projection)`, of unit norm.
        text_embeds: distinct texts `(texts, projection)`, of unit norm.
        images: `(rows,)`, the image of each row of the table.
        texts: `(rows,)`, the text of each row of the table.
        chosen: the rows of each subset, as a mask.
    """
    is_right = np.zeros((len(image_embeds), len(text_embeds)), np.bool_)
    is_right[images, texts] = True
    similarities = image_embeds @ text_embeds.T
    found = (ranks(similarities, is_right)[images], ranks(similarities.T, is_right.T)[texts])
    return {
        name: {way: scores(some[mask]) for way, some in zip(DIRECTIONS, found, strict=True)} if mask.any() else {}
        for name, mask in chosen.items()
    }


def report(test: Path, models: Mapping[str, str], backend: str | None) -> dict[str, Any]:
    """Measure the models, and return the content of `results.json`.

    Args:
        test: the table of images with texts by language.
        models: the teacher and the student: folders or hub ids.
        backend: the framework; by default an installed one.

    Raises:
        ValueError: if the two models embed the same image differently.
    """
    rows = read_rows(test)
    pictures, of_row = distinct([load_image(test.parent / row.file_name) for row in rows])
    languages = list(rows[0].texts)
    chosen = {language: subsets(rows, language) for language in languages}
    results: dict[str, Any] = {
        "images": len(pictures),
        "counts": {
            language: {name: int(mask.sum()) for name, mask in of_one.items()} for language, of_one in chosen.items()
        },
    }
    embeds: dict[str, np.ndarray] = {}
    with tqdm(total=len(models) * (len(languages) + 1), desc="measuring") as progress:
        for name, model in models.items():
            classifier = ZeroShotClassifier.from_pretrained(model, backend=backend)
            embeds[name] = classifier.encode_images(pictures)
            progress.update()
            first = embeds[MODELS[0]]
            if embeds[name].shape != first.shape or np.abs(embeds[name] - first).max() > _ROUNDING:
                raise ValueError(
                    f"{model} and {models[MODELS[0]]} embed images differently; expected a student and its teacher"
                )
            results[name] = {}
            for language in languages:
                # Equal as they are written: texts that a model cuts to the same beginning are ties, and count as wrong.
                texts, text_of_row = np.unique([plain(row.texts[language]) for row in rows], return_inverse=True)
                found = embed_texts(classifier, texts.tolist())
                results[name][language] = measure(
                    embeds[name], found.embeds[found.places], of_row, text_of_row, chosen[language]
                )
                progress.update()
    return results


def _percent(found: Mapping[str, Any], subset: str, way: str, k: int) -> str:
    return f"{found[subset][way][str(k)]:.1%}" if found[subset] else "-"


def _headings(names: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]


def tables(results: Mapping[str, Any]) -> list[list[str]]:
    """Return the lines of the README's tables: learned texts by language, held-out texts, and held-out texts by words.

    Args:
        results: the content of `results.json`.
    """
    student, teacher = results["student"], results["teacher"]
    first = next(iter(teacher))
    whose = [(f"{first}, teacher", teacher[first], first), *((name, found, name) for name, found in student.items())]
    by_subset = []
    for subset in ("learned", "held_out"):
        lines = _headings(_BY_SUBSET)
        for name, found, language in whose:
            cells = []
            for way in DIRECTIONS:
                cells += [_percent(found, subset, way, k) for k in AT]
                cells.append(f"{found[subset][way]['mrr']:.3f}")
            lines.append(f"| {name} | {' | '.join(cells)} | {_percent(teacher[language], subset, DIRECTIONS[0], 1)} |")
        by_subset.append(lines)
    by_words = _headings(_BY_WORDS)
    for language, found in student.items():
        cells = []
        for subset in SUBSETS[3:]:
            cells += [str(results["counts"][language][subset])]
            cells += [_percent(found, subset, DIRECTIONS[0], k) for k in AT]
        by_words.append(f"| {language} | {' | '.join(cells)} |")
    return [*by_subset, by_words]


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, measure, and print the tables."""
    parser = Parser(prog="multilingual_report.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("test", type=Path, help="a table of images with texts by language")
    for name in MODELS:
        parser.add_argument(name, help="a CLIP model: a folder or a hub id")
    parser.add_argument("--backend", choices=backend_names(), help="the framework (an installed one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    given = parser.parse_args(arguments)

    def write() -> None:
        if given.json is not None:
            given.json.parent.mkdir(parents=True, exist_ok=True)  # fails before the work, not after it
        results = report(given.test, {name: getattr(given, name) for name in MODELS}, given.backend)
        titled = zip(TITLES, tables(results), strict=True)
        print("\n\n".join("\n".join([title, "", *lines]) for title, lines in titled))
        if given.json is not None:
            write_text(given.json, json.dumps(results, indent=2) + "\n")

    return answered(write, "multilingual_report.py")


if __name__ == "__main__":
    run(main, "multilingual_report.py")
