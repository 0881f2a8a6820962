"""Names of the emoji in fourteen languages, to distil from and to test on; a tenth of the emoji is kept for the test.

    python examples/multilingual/emoji_names.py build/emoji/test build/multilingual

The translations are those of the PyPI package `emoji`, from Unicode's CLDR. The images and the English names, which the
teacher knows, are those that the emoji example's prepare.py wrote: another vendor's drawings than it trains on.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "captioning"))
sys.path.append(str(Path(__file__).parents[1] / "emoji"))

import numpy as np
from catalogue import code_of
from command import Parser, answered, number, run
from parallel_texts import Pair, Row, plain, write_pairs, write_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENGLISH = "en"
# "a picture of ..." in each language.
TEMPLATES = {
    ENGLISH: "a picture of {}",
    "de": "ein Bild von {}",
    "es": "una imagen de {}",
    "fr": "une image de {}",
    "it": "un'immagine di {}",
    "pt": "uma imagem de {}",
    "id": "gambar {}",
    "tr": "{} resmi",
    "ru": "изображение: {}",
    "ar": "صورة {}",
    "fa": "تصویری از {}",
    "ja": "{}の絵",
    "ko": "{} 그림",
    "zh": "{}的图片",
}
TABLE = "metadata.jsonl"
SHARE = 0.1
_FULLY_QUALIFIED = 2  # of several spellings of an emoji, the one that Unicode recommends


def read_translations() -> dict[str, dict[str, str]]:
    """Return the names of each emoji by language, by code as in `catalogue.code_of`, from the package `emoji`.

    Raises:
        ImportError: if the package is missing.
    """
    try:
        import emoji
    except ImportError as error:
        raise ImportError("the translations are in the package emoji; pip install emoji") from error
    emoji.config.load_language()
    found = {}
    for text, names in emoji.EMOJI_DATA.items():
        if names["status"] == _FULLY_QUALIFIED:
            code = code_of("-".join(f"{ord(character):x}" for character in text))
            found[code] = {
                language: names[language].strip(":").replace("_", " ") for language in TEMPLATES if language in names
            }
    return found


def read_emoji(folder: Path) -> list[dict[str, Any]]:
    """Return the file name and the names in all languages of each image, as `names` by language.

    Args:
        folder: the images of the emoji example, with their English names.

    Raises:
        ValueError: if the table is not that of the emoji example, or no image has names in all languages.
    """
    translations = read_translations()
    table = folder / TABLE
    try:
        rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
        given = [(row["file_name"], row["label"]) for row in rows]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{table} is not the table that examples/emoji/prepare.py writes ({error!r})") from error
    found = []
    for file_name, label in given:
        names = {**translations.get(Path(file_name).stem, {}), ENGLISH: label}
        if all(map(names.get, TEMPLATES)):
            found.append({"file_name": file_name, "names": {language: names[language] for language in TEMPLATES}})
    if not found:
        raise ValueError(f"{table} has no image of an emoji with names in all of {', '.join(TEMPLATES)}")
    return found


def groups(names: Sequence[Mapping[str, str]]) -> list[list[int]]:
    """Return the emoji in groups that have no name in common, in any language.

    Args:
        names: of each emoji, by language.
    """
    first: dict[str, int] = {}
    parents = list(range(len(names)))

    def root(place: int) -> int:
        while parents[place] != place:
            place = parents[place]
        return place

    for place, of_one in enumerate(names):
        for text in map(plain, of_one.values()):
            parents[root(place)] = root(first.setdefault(text, place))
    members = defaultdict(list)
    for place in range(len(names)):
        members[root(place)].append(place)
    return list(members.values())


def hold_out(names: Sequence[Mapping[str, str]], share: float, seed: int) -> set[int]:
    """Return random emoji that share no name, in any language, with the others.

    Args:
        names: of each emoji, by language.
        share: the fraction to choose, at most 1.
        seed: seed of the choice.
    """
    together = groups(names)
    chosen: set[int] = set()
    for place in np.random.default_rng(seed).permutation(len(together)):
        if len(chosen) + len(together[place]) <= share * len(names):
            chosen.update(together[place])
    return chosen


def pairs_of(names: Mapping[str, str]) -> list[Pair]:
    """Return an emoji's parallel texts: its names alone and in a sentence, English with each language and itself.

    Args:
        names: by language.
    """
    alone = [Pair(names[ENGLISH], names[language]) for language in TEMPLATES]
    sentences = sentences_of(names)
    return [*alone, *(Pair(sentences[ENGLISH], sentence) for sentence in sentences.values())]


def sentences_of(names: Mapping[str, str]) -> dict[str, str]:
    """Return the sentence with an emoji's name, by language.

    Args:
        names: by language.
    """
    return {language: template.format(names[language]) for language, template in TEMPLATES.items()}


def write(images: Path, folder: Path, share: float, seed: int) -> None:
    """Write `parallel.tsv`, to train on, and `test.jsonl`: a line for each image, with its sentences by language.

    Args:
        images: the folder of images.
        folder: the folder to write to.
        share: the fraction of the emoji to hold out.
        seed: seed of the choice.
    """
    emoji = read_emoji(images)
    held_out = hold_out([one["names"] for one in emoji], share, seed)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [pair for place, one in enumerate(emoji) if place not in held_out for pair in pairs_of(one["names"])]
    rows = [
        Row(os.path.relpath(images / one["file_name"], folder), place in held_out, sentences_of(one["names"]))
        for place, one in enumerate(emoji)
    ]
    write_rows(folder / "test.jsonl", rows)
    write_pairs(folder / "parallel.tsv", pairs)
    print(
        f"{folder}: {len(pairs)} pairs of texts in {len(TEMPLATES)} languages, of {len(emoji) - len(held_out)} emoji; "
        f"{len(held_out)} others are held out"
    )


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, and write the texts."""
    parser = Parser(prog="emoji_names.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("images", type=Path, help="the folder of images that examples/emoji/prepare.py wrote")
    parser.add_argument("folder", type=Path, help="the folder to write to")
    parser.add_argument("--held-out", type=number(float, 0), default=SHARE, help=f"fraction of the emoji ({SHARE})")
    parser.add_argument("--seed", type=number(int, 0), default=0)
    given = parser.parse_args(arguments)
    if given.held_out >= 1:
        parser.error(f"--held-out {given.held_out:g}: give a fraction below 1, so that some emoji are left to learn")
    return answered(lambda: write(given.images, given.folder, given.held_out, given.seed), "emoji_names.py")


if __name__ == "__main__":
    run(main, "emoji_names.py")
