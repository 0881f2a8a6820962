"""Describe images with a caption decoder.

    python examples/captioning/describe.py examples/shapes/pictures/*.png --backend flax

Prints a line for each image: its path, and the caption that CLIP finds most similar to it among those of the decoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from captioner import BEAMS, EXPONENT, Captioner
from command import Parser, answered, number, run
from decoder import Decoder

from clip_core import ZeroShotClassifier
from clip_core.backends import backend_names
from clip_core.images.inputs import find_images, load_image

if TYPE_CHECKING:
    import argparse

HERE = Path(__file__).parent
DECODER = HERE / "decoder"
MODEL = HERE.parent / "shapes" / "checkpoint"


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, and print a caption for each image."""
    parser = Parser(prog="describe.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("images", nargs="+", help="files, folders or globs")
    parser.add_argument("--beams", type=number(int, 1), default=BEAMS, help=f"hypotheses of the search ({BEAMS})")
    parser.add_argument(
        "--length-penalty",
        type=number(float, 0),
        default=EXPONENT,
        help=f"larger values favour longer captions; 0 for none ({EXPONENT})",
    )
    parser.add_argument("--no-rerank", action="store_true", help="print the decoder's favourite, not CLIP's")
    parser.add_argument("--all", action="store_true", help="print all candidates, the chosen one first")
    add_models(parser)
    given = parser.parse_args(arguments)

    def describe() -> None:
        paths = [path for pattern in given.images for path in find_images(pattern)]
        decoder = Decoder.load(given.decoder)
        classifier = ZeroShotClassifier.from_pretrained(given.model, backend=given.backend)
        captioner = Captioner(classifier, decoder)
        embeds = classifier.encode_images(map(load_image, paths))
        found = captioner.candidates(embeds, beams=given.beams, exponent=given.length_penalty)
        if not given.no_rerank:
            found = captioner.rerank(embeds, found)
        for path, captions in zip(paths, found, strict=True):
            for caption in captions if given.all else captions[:1]:
                print(f"{path}: {caption}")

    return answered(describe, "describe.py")


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the decoder, the CLIP model and the framework.

    Args:
        parser: the parser to add them to.
    """
    parser.add_argument("--decoder", type=Path, default=DECODER, help="a folder that train_decoder.py wrote")
    parser.add_argument("--model", default=str(MODEL), help="the CLIP model it was trained for: a folder or a hub id")
    parser.add_argument("--backend", choices=backend_names(), help="the framework")


if __name__ == "__main__":
    run(main, "describe.py")
