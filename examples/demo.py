"""The program of `make demo`: a trained CLIP classifies images in each framework, is verified, and searches them.

    python examples/demo.py openai/clip-vit-base-patch32 photos/ --labels names.txt --template "a photo of {}"

Accuracy is reported for images with a known label, from the labels file or from a `labels.json` beside the images.
"""

from __future__ import annotations

import argparse
import io
import shlex
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table
from rich.text import Text

from clip_core import ZeroShotClassifier
from clip_core.backends import NotInstalledError, backend_names
from clip_core.cli import main as clip_zoo
from clip_core.commands.streams import console, run_program
from clip_core.data.pool import WorkerFailedError, WorkerPool
from clip_core.hub.printing import counted
from clip_core.images.decoding import open_image
from clip_core.images.inputs import find_images
from clip_core.tasks.labels import read_labels
from converters.commands.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

BAD_INPUT = 2


class Request(NamedTuple):
    """Everything that a framework needs to classify.

    Attributes:
        framework: the name of the backend.
        model: a folder or hub id.
        images: the paths of the images.
        labels: the labels to choose from.
        template: a text with {} for the label.
    """

    framework: str
    model: str
    images: list[Path]
    labels: list[str]
    template: str


def alone(function: Callable[[Any], Any], arguments: list[Any]) -> Iterator[Any]:
    """Yield a function's values in a separate process, because some frameworks crash beside others.

    The process ends with this one, even if this one is killed.

    Args:
        function: the function.
        arguments: its arguments, one for each call.

    Raises:
        WorkerFailedError: the function raised an error, or its process died.
    """
    pool = WorkerPool(function, 1, threads=None)
    try:
        yield from pool.map(arguments, ahead=1)
    finally:
        pool.close()


def classify(request: Request) -> np.ndarray | None:
    """Return the probabilities `(images, labels)`; None if the framework is not installed."""
    try:
        classifier = ZeroShotClassifier.from_pretrained(request.model, backend=request.framework)
    except NotInstalledError:
        return None
    return classifier([open_image(path) for path in request.images], request.labels, templates=[request.template])


def run(words: list[str]) -> tuple[int, str]:
    """Run a command of clip-zoo, and return its exit code and output."""
    with redirect_stdout(io.StringIO()) as output:
        try:
            clip_zoo(words)
        except SystemExit as end:
            code = end.code
    return (code if isinstance(code, int) else 0), output.getvalue()


def show(paths: list[Path], labels: list[str], truths: dict[str, str], found: dict[str, np.ndarray]) -> None:
    """Print each framework's prediction for each image.

    Args:
        paths: paths of the images.
        labels: the labels to choose from.
        truths: the known true labels, by file name.
        found: by framework, the probabilities `(images, labels)`.
    """
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("image")
    table.add_column("prediction")
    for name in found:
        table.add_column(name, justify="right")
    for row, path in enumerate(paths):
        best = {name: labels[probabilities[row].argmax()] for name, probabilities in found.items()}
        named = next(iter(best.values()))
        cells = [
            f"{found[name][row].max():.4%}" + ("" if label == named else f" {label}") for name, label in best.items()
        ]
        table.add_row(*map(Text, (path.stem, named, *cells)))
    out = console()
    out.print(table)
    known = [(row, truths[path.name]) for row, path in enumerate(paths) if path.name in truths]
    for name, probabilities in found.items() if known else ():
        right = sum(labels[probabilities[row].argmax()] == truth for row, truth in known)
        out.print(f"{name}: {right} of {len(known)} correct, among {counted(len(labels), 'label')}")


def search(framework: str, model: str, pictures: Path, query: str) -> int:
    """Index the images and search them, by the two commands that anyone would type; return the exit code.

    Args:
        framework: name of the backend.
        model: a folder or hub id.
        pictures: the folder of the images.
        query: the text to search for.
    """
    with tempfile.TemporaryDirectory() as folder:
        index = str(Path(folder) / "index")
        commands = [
            ["index", str(pictures), "--out", index, "--model", model, "--backend", framework],
            ["search", index, query, "--top-k", "3", "--backend", framework],
        ]
        for words, (code, output) in zip(commands, alone(run, commands), strict=True):
            print(f"\n$ clip-zoo {shlex.join(words)}\n{output}", end="", flush=True)
            if code:
                return code
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return the exit code of `clip-zoo verify`, or of the search if that is 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="a folder or hub id")
    parser.add_argument("pictures", type=Path, help="a folder")
    parser.add_argument("--labels", type=Path, required=True, help="a file of labels to choose from")
    parser.add_argument("--template", default="{}", help="a text with {} for the label")
    parser.add_argument("--query", help="a text to search for; by default the prediction for the first image")
    options = parser.parse_args(arguments)
    if not Path(options.model, "config.json").exists() and options.model.startswith((".", "/", "~")):
        print(f"there is no trained checkpoint at {options.model}; give one, and some images:", file=sys.stderr)
        print("make demo MODEL=path/or/hub-id IMAGES=photos LABELS=names.txt", file=sys.stderr)
        return BAD_INPUT
    given, beside = read_labels(options.labels), options.pictures / "labels.json"
    truths = given.label_of or (read_labels(beside).label_of if beside.exists() else {})
    labels = list(dict.fromkeys(given.names))
    paths = find_images(str(options.pictures))
    found = {}
    for name in backend_names():
        try:
            (probabilities,) = alone(classify, [Request(name, options.model, paths, labels, options.template)])
        except WorkerFailedError as error:
            print(f"{name}: {error}", file=sys.stderr)
        else:
            found |= {} if probabilities is None else {name: probabilities}
    if not found:
        print("no framework could classify; install one: pip install 'clip-zoo[torch]'", file=sys.stderr)
        return BAD_INPUT
    show(paths, labels, truths, found)
    print()
    code = verify(options.model)
    name, probabilities = next(iter(found.items()))
    query = options.query or options.template.replace("{}", labels[probabilities[0].argmax()])
    return code or search(name, options.model, options.pictures, query)


if __name__ == "__main__":
    import demo  # the processes of the frameworks find its functions by this name

    sys.exit(run_program(demo.main, "demo.py"))
