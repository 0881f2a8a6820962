"""Demo, as run by `make demo`: a trained CLIP model classifies images in each installed framework, then `verify` runs.

    python examples/demo.py openai/clip-vit-base-patch32 photos/ --labels names.txt --template "a photo of {}"

Accuracy is reported over the images with a known label, from the labels file or a `labels.json` beside them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clip_core import ZeroShotClassifier
from clip_core.backends import backend_names, load_backend
from clip_core.images.inputs import find_images, open_image
from clip_core.tasks.labels import read_labels
from converters.commands.verify import verify

if TYPE_CHECKING:
    import numpy as np

BAD_INPUT = 2


def installed() -> list[str]:
    """Return the backends whose frameworks are installed."""
    found = []
    for name in backend_names():
        try:
            load_backend(name)
        except ImportError:
            continue
        found.append(name)
    return found


def show(paths: list[Path], labels: list[str], truths: dict[str, str], found: dict[str, np.ndarray]) -> None:
    """Print each framework's prediction for each image.

    Args:
        paths: paths of the images.
        labels: the labels to choose from.
        truths: the known true labels, by file name.
        found: by framework, the probabilities `(pictures, labels)`.
    """
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("picture")
    table.add_column("is named")
    for name in found:
        table.add_column(name, justify="right")
    for row, path in enumerate(paths):
        best = {name: labels[probabilities[row].argmax()] for name, probabilities in found.items()}
        named = next(iter(best.values()))
        cells = [
            f"{found[name][row].max():.4%}" + ("" if label == named else f" {label}") for name, label in best.items()
        ]
        table.add_row(*map(Text, (path.stem, named, *cells)))
    console = Console(highlight=False)
    console.print(table)
    known = [(row, truths[path.name]) for row, path in enumerate(paths) if path.name in truths]
    for name, probabilities in found.items() if known else ():
        right = sum(labels[probabilities[row].argmax()] == truth for row, truth in known)
        console.print(f"{name}: {right} of {len(known)} right, among {len(labels)} names")


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return the exit code of `clip-zoo verify`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="a folder or hub id")
    parser.add_argument("pictures", type=Path, help="a folder")
    parser.add_argument("--labels", type=Path, required=True, help="a file of labels to choose from")
    parser.add_argument("--template", default="{}", help="a text with {} where the label goes")
    options = parser.parse_args(arguments)
    if not Path(options.model, "config.json").exists() and options.model.startswith((".", "/", "~")):
        print(f"there is no trained checkpoint at {options.model}; name one and some pictures:", file=sys.stderr)
        print("make demo MODEL=path/or/hub-id IMAGES=photos LABELS=names.txt", file=sys.stderr)
        return BAD_INPUT
    given, beside = read_labels(options.labels), options.pictures / "labels.json"
    truths = given.label_of or (read_labels(beside).label_of if beside.exists() else {})
    labels = list(dict.fromkeys(given.names))
    paths = find_images(str(options.pictures))
    pictures = [open_image(path) for path in paths]
    found = {}
    for name in installed():
        classifier = ZeroShotClassifier.from_pretrained(options.model, backend=name)
        found[name] = classifier(pictures, labels, templates=[options.template])
    show(paths, labels, truths, found)
    print()
    return verify(options.model)


if __name__ == "__main__":
    sys.exit(main())
