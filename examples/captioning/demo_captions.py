"""The program of `make demo-captions`: captions of images in both ways, and how many are right.

    python examples/captioning/demo_captions.py --backend tf

The decoder was trained on texts alone; the grammar is searched with CLIP's score alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from captioner import Captioner
from command import Parser, answered, number, run
from decoder import Decoder
from describe import HERE, add_models
from measuring import PAIRS, measure, ways
from rich.table import Table

from clip_core import ZeroShotClassifier
from clip_core.commands.streams import console
from clip_core.hub.files import write_text
from clip_core.images.inputs import find_images, load_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from measuring import Measured

PICTURES = HERE.parent / "shapes" / "pictures"
SHOWN = ("decoder", "grammar")
COUNT = 150


def show_captions(paths: Sequence[Path], captions: dict[str, list[str]]) -> None:
    """Print the captions of each image.

    Args:
        paths: the images.
        captions: by way of captioning.
    """
    for row, path in enumerate(paths):
        print(path.stem)
        for way in SHOWN:
            print(f"  {way}: {captions[way][row]}")


def show_shares(results: dict[str, Measured]) -> None:
    """Print the results of measuring.

    Args:
        results: by the kind of images.
    """
    for kind, measured in results.items():
        print(f"\n{measured.images} drawings of {kind}; CLIP can tell {measured.told:.1%} of them")
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("")
        for column in ("right, of those", "right, of all", "wholly right"):
            table.add_column(column, justify="right")
        for way, shares in measured.by_way.items():
            table.add_row(way, *(f"{share:.1%}" for share in shares[:3]))
        console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, describe the demo's images, and measure."""
    parser = Parser(prog="demo_captions.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--count", type=number(int, 1), default=COUNT, help=f"drawings of each kind to measure on ({COUNT})"
    )
    parser.add_argument("--seed", type=number(int, 0), default=0, help="seed of the drawings")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    add_models(parser)
    given = parser.parse_args(arguments)

    def demo() -> None:
        if given.json is not None:
            given.json.parent.mkdir(parents=True, exist_ok=True)  # fails before the work, not after it
        classifier = ZeroShotClassifier.from_pretrained(given.model, backend=given.backend)
        captioner = Captioner(classifier, Decoder.load(given.decoder))
        paths = find_images(str(PICTURES))
        show_captions(paths, ways(classifier, captioner, classifier.encode_images(map(load_image, paths))))
        print("\nRight: number, colour and shape. Wholly right: and size, position and background, if stated.")
        results = {kind: measure(classifier, captioner, kind, given.count, given.seed) for kind in PAIRS}
        show_shares(results)
        if given.json is not None:
            told = {
                kind: {**one._asdict(), "by_way": {way: shares._asdict() for way, shares in one.by_way.items()}}
                for kind, one in results.items()
            }
            write_text(given.json, json.dumps(told, indent=2) + "\n")

    return answered(demo, "demo_captions.py")


if __name__ == "__main__":
    run(main, "demo_captions.py")
