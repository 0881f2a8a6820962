"""Captioned drawings of the emoji as a data set in RSICD's format: one JSON file, and a folder of images.

    python examples/captions_finetuning/emoji_dataset.py build/captioned-emoji

Three vendors' drawings are described in up to five wordings: the emoji's Unicode name, alone and in a sentence; the
short names of chat programs; and keywords. Like RSICD, the data set repeats sentences of an image that has fewer than
five. A tenth of the drawings is for validation, and a tenth for the test.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "captioning"))
sys.path.append(str(Path(__file__).parents[1] / "emoji"))

import numpy as np
from catalogue import TEMPLATE, Emoji, code_of, drawn_by_all, find_drawings, read_names
from command import Parser, answered, number, run
from packages import GOOGLE, MICROSOFT, NAMES, TWITTER, Package, find
from tqdm import tqdm
from variation import on_white

from clip_core.hub.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

SENTENCES = 5
SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}
SIZE = 64
VENDORS = {"google": GOOGLE, "twitter": TWITTER, "microsoft": MICROSOFT}
SHORT_NAMES = ("emojibase-legacy", "github", "iamcal", "joypixels")  # files of emojibase; iamcal's are Slack's
_KEYWORDS = 4


def read_short_names(folder: Path) -> dict[str, list[str]]:
    """Return the short names of each emoji, as words, by its code.

    Args:
        folder: emojibase's folder of short names.
    """
    found: dict[str, list[str]] = {}
    for name in SHORT_NAMES:
        for code, words in json.loads((folder / f"{name}.json").read_text(encoding="utf-8")).items():
            some = [words] if isinstance(words, str) else words
            found.setdefault(code_of(code), []).extend(word.replace("_", " ").replace("-", " ") for word in some)
    return found


def wordings(emoji: Emoji, short_names: Sequence[str]) -> list[str]:
    """Return up to five different sentences about an emoji.

    Args:
        emoji: the emoji.
        short_names: its short names, as words.
    """
    others = [word for word in emoji.keywords if word.lower() not in emoji.name.lower()][:_KEYWORDS]
    texts = [emoji.name, TEMPLATE.format(emoji.name), *([", ".join(others)] if others else []), *short_names]
    different: dict[str, str] = {}
    for text in texts:
        different.setdefault(text.lower(), text)
    return list(different.values())[:SENTENCES]


def entry(place: int, file_name: str, texts: Sequence[str], split: str, random: np.random.Generator) -> dict[str, Any]:
    """Return an image's entry in RSICD's format, with five sentences.

    Args:
        place: number of the image.
        file_name: its file name.
        texts: its sentences, which are repeated at random if there are fewer than five.
        split: "train", "val" or "test".
        random: the source of the repetitions.
    """
    repeated = [texts[row] for row in random.integers(len(texts), size=SENTENCES - len(texts))]
    identifiers = list(range(SENTENCES * place, SENTENCES * (place + 1)))
    sentences = [
        {"tokens": text.split(), "raw": text, "imgid": place, "sentid": identifier}
        for identifier, text in zip(identifiers, [*texts, *repeated], strict=True)
    ]
    return {"filename": file_name, "imgid": place, "sentences": sentences, "split": split, "sentids": identifiers}


def write_dataset(folder: Path, packages: Path, seed: int) -> None:
    """Write `dataset_emoji.json` and `images/`.

    Args:
        folder: the folder to write to.
        packages: the folder of npm packages; missing ones are downloaded into it.
        seed: seed of the split and of repeated sentences.

    Raises:
        ValueError: if a package is damaged or incomplete.
        FileNotFoundError: if a package is missing, and npm as well.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    vendors = {name: find_drawings(find(package, packages)) for name, package in VENDORS.items()}
    names = find(Package(NAMES.name, NAMES.version, NAMES.integrity, "en"), packages)
    if not (names / "shortcodes").is_dir():  # unpacked by the emoji example, which needs less
        raise ValueError(f"{names} lacks the folder shortcodes; remove {packages / NAMES.name} to unpack it again")
    emoji = drawn_by_all(read_names(names / "data.json"), list(vendors.values()))
    short_names = read_short_names(names / "shortcodes")
    drawings = [(vendor, one) for vendor in vendors for one in emoji]
    random = np.random.default_rng(seed)
    ends = (np.cumsum(list(SPLITS.values())) * len(drawings)).round().astype(int)
    splits = random.permutation(np.repeat(list(SPLITS), np.diff(ends, prepend=0)))
    entries = []
    for place, (vendor, one) in enumerate(tqdm(drawings, unit="image")):
        file_name = f"{vendor}-{one.code}.png"
        on_white(vendors[vendor][one.code], SIZE).save(images / file_name)
        entries.append(
            entry(place, file_name, wordings(one, short_names.get(one.code, ())), str(splits[place]), random)
        )
    write_text(folder / "dataset_emoji.json", json.dumps({"images": entries, "dataset": "emoji"}) + "\n")
    print(f"{folder}: {len(entries)} images, {SENTENCES} sentences each")


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, and write the data set."""
    parser = Parser(prog="emoji_dataset.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the folder to write to")
    parser.add_argument("--packages", type=Path, help="a folder with the npm packages; by default FOLDER/packages")
    parser.add_argument("--seed", type=number(int, 0), default=0)
    given = parser.parse_args(arguments)
    packages = given.packages or given.folder / "packages"
    return answered(lambda: write_dataset(given.folder, packages, given.seed), "emoji_dataset.py")


if __name__ == "__main__":
    run(main, "emoji_dataset.py")
