"""`clip-zoo explain`: the regions of an image and the words of a text that a logit depends on."""

from __future__ import annotations

import glob
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clip_core.commands.options import SEVERAL, Dtype, Integer, Page, check_backend, images_of, texts_of
from clip_core.commands.streams import console, is_lost, print_row
from clip_core.commands.wording import as_typed
from clip_core.hub.options import DEFAULT_MODEL
from clip_core.hub.targets import check_folder, check_page, expanded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_core.tasks.explain import ExplainedImage

BAD_INPUT = 2


def explain(
    words: Annotated[list[str], Parameter(name="IMAGE-OR-TEXT", negative="")],
    /,
    *,
    texts: Annotated[list[str] | None, SEVERAL] = None,
    method: str = "chefer",
    start_layer: Integer | None = None,
    start_layer_text: Integer | None = None,
    model: str = DEFAULT_MODEL,
    backend: str | None = None,
    device: str | None = None,
    dtype: Dtype = None,
    output_dir: Path | None = None,
    html: Page = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Explain the logits of images with texts: a heatmap for each text, and the relevance of each word.

    Writes one PNG per image, named after it; the names of files that exist get a number.

    Parameters
    ----------
    words
        Image files, folders (searched recursively) and globs, and texts. A word is a text unless it is an
        existing file or folder, or ends like an image file.
    texts
        More texts, even if they look like paths of images.
    method
        chefer (Chefer et al. 2021) or legrad (Bousselham et al. 2024).
    start_layer
        The first layer of the vision tower that the method reads; negative numbers count from the end. By default -1
        for chefer and -2 for legrad in towers of twelve layers and more, and 0 in shorter ones.
    start_layer_text
        The same for the text tower, which chefer explains with either method.
    model
        A local folder or a hub id.
    backend
        The framework that runs the model: torch, flax or tf; by default the first of these that is installed.
    device
        The device, such as cpu or cuda; by default the best available.
    dtype
        The dtype of the weights: float32, float16, bfloat16 or auto; by default float32.
    output_dir
        The folder to write the PNG files to; by default the current one. With --html or --json, PNG files are
        written only if it is given.
    html
        Write all explanations to this one HTML file. Missing folders are created, and an earlier page is replaced.
    json
        Print one JSON object per line, with all numbers.
    """
    named, texts = _images_and_texts(words, texts or [])
    output = _Output(method, output_dir, html, json)
    check_backend(backend, device)
    paths = _find(named, output)
    if not paths:
        return BAD_INPUT

    from tqdm import tqdm

    from clip_core.images.decoding import ImageFileError
    from clip_core.images.inputs import load_image
    from clip_core.tasks.explain import Explainer

    explainer = Explainer.from_pretrained(model, backend=backend, device=device, dtype=dtype)
    for path in tqdm(paths, unit="image", disable=None if len(paths) > 1 else True):
        if is_lost():
            break
        try:
            image = load_image(path)
        except ImageFileError as error:
            output.report(str(path), error)
            continue
        with texts_of(model), images_of(model):
            explained = explainer(
                image, texts, method=method, start_layer=start_layer, start_layer_text=start_layer_text
            )
        output.add(path, explained)
    output.finish()
    return BAD_INPUT if output.failed else 0


class _Output:
    """The files and lines that the command writes.

    Args:
        method: the method.
        folder: the folder for PNG files; None for the current one.
        html: the file of the report, or None.
        json: True to print JSON lines.

    Attributes:
        failed: True if an image could not be read.
    """

    def __init__(self, method: str, folder: Path | None, html: Path | None, json: bool) -> None:
        if html is not None:
            check_page("html", html)
        if folder is not None or not (html or json):
            check_folder("output_dir", folder or Path())
        self.method, self.folder, self.html, self.json = method, folder, html, json
        self.failed = False
        self._shown: list[tuple[str, ExplainedImage]] = []

    def add(self, path: Path, explained: ExplainedImage) -> None:
        """Write and print the explanations of an image."""
        written = None
        if self.html is not None:
            self._shown.append((str(path), explained))
        if self.folder is not None or not (self.html or self.json):
            written = _write_png(explained, path, self.folder or Path())
        if self.json:
            print_row(_row(path, explained, self.method, written))
        else:
            _print(path, explained, written)

    def report(self, image: str, error: ValueError) -> None:
        """Print that an image cannot be read."""
        self.failed = True
        print(f"clip-zoo: {as_typed(str(error), 'IMAGE', [image])}", file=sys.stderr)
        if self.json:
            print_row({"image": image, "error": str(error)})

    def finish(self) -> None:
        """Write the report."""
        if self.html is None or not self._shown:
            return
        from clip_core.hub.files import write_text
        from clip_core.tasks.explain import explanation_page

        write_text(self.html, explanation_page(self._shown, self.method))
        print(f"wrote {self.html}", file=sys.stderr if self.json else sys.stdout)


def _images_and_texts(words: list[str], texts: list[str]) -> tuple[list[str], list[str]]:
    """Tell paths and globs of images from texts; add further texts.

    Raises:
        ValueError: there are no images or no texts.
    """
    from PIL import Image

    Image.init()
    images = [word for word in words if _names_images(word, set(Image.EXTENSION))]
    texts = [*(word for word in words if word not in images), *texts]
    if not images:
        raise ValueError(f"none of {', '.join(map(repr, words))} is an image; give a file, a folder or a glob")
    if not texts:
        found = ", ".join(map(repr, images))
        raise ValueError(
            f"there are no texts, only images, folders or globs: {found}; give a text after them, or with --texts if "
            "it is also the name of a file"
        )
    return images, texts


def _names_images(word: str, suffixes: set[str]) -> bool:
    path = expanded(word)
    if path.suffix.lower() in suffixes or _exists(path):
        return True
    return glob.has_magic(word) and next(glob.iglob(word, recursive=True), None) is not None  # noqa: PTH207  absolute


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for the name of a file
        return False


def _find(patterns: list[str], output: _Output) -> list[Path]:
    """Return the image files, and report each pattern that finds none."""
    from clip_core.images.decoding import ImageFileError
    from clip_core.images.inputs import find_images

    paths: dict[Path, None] = {}
    for pattern in patterns:
        try:
            paths.update(dict.fromkeys(find_images(pattern)))
        except ImageFileError as error:
            output.report(pattern, error)
    return list(paths)


def _write_png(explained: ExplainedImage, image: Path, folder: Path) -> Path:
    """Write a drawing beside others, never over one, and return its path."""
    from clip_core.hub.files import telling_of_a_full_disk
    from clip_core.tasks.explain import draw_explanation

    folder.mkdir(parents=True, exist_ok=True)
    drawing = draw_explanation(explained)
    for path in _names(folder, image.stem):
        try:
            with telling_of_a_full_disk(path), path.open("xb") as file:  # fails if it exists
                try:
                    drawing.save(file, "PNG")
                except BaseException:
                    path.unlink()
                    raise
        except FileExistsError:
            continue
        return path
    raise AssertionError  # the names never end


def _names(folder: Path, stem: str) -> Iterator[Path]:
    yield folder / f"{stem}-explained.png"
    number = 2
    while True:
        yield folder / f"{stem}-explained-{number}.png"
        number += 1


def _row(image: Path, explained: ExplainedImage, method: str, written: Path | None) -> dict[str, Any]:
    return {
        "image": str(image),
        "method": method,
        "output": None if written is None else str(written),
        "texts": [
            {
                "text": one.text,
                "logit": one.logit,
                "heatmap": one.heatmap.tolist(),
                "words": [{"word": word.text, "share": word.share} for word in one.words],
            }
            for one in explained.explanations
        ],
    }


def _print(image: Path, explained: ExplainedImage, written: Path | None) -> None:
    out = partial(console().print, soft_wrap=True)
    out(str(image) if written is None else f"{image}: wrote {written}")
    for one in explained.explanations:
        words = ", ".join(f"{word.text} {word.share:.0%}" for word in one.words)
        out(f"  {one.logit:7.2f}  {one.text} ({words})")
