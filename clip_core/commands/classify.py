"""`clip-zoo classify`: name pictures."""

from __future__ import annotations

import json as json_module
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clip_core.files import read_json

if TYPE_CHECKING:
    import numpy as np

    from clip_core.image_files import ImageFileError
    from clip_core.zero_shot import ZeroShotClassifier

DEFAULT_MODEL = "openai/clip-vit-base-patch32"
BAD_INPUT = 2


@dataclass
class Answer:
    """What is known of one picture: its likeliest labels, best first, and the right one where a file told it."""

    image: str
    labels: list[tuple[str, float]]
    truth: str | None = None


@dataclass
class Answers:
    """The answers so far, and the pictures that could not be read."""

    named: list[Answer] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def classify(
    images: Annotated[list[str], Parameter(name="IMAGE", negative="")],
    /,
    *,
    labels: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    labels_file: Path | None = None,
    template: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    model: str = DEFAULT_MODEL,
    backend: str = "torch",
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int = 32,
    top_k: int = 5,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Name pictures: the likeliest of the labels for each, with their probabilities.

    Parameters
    ----------
    images
        Picture files, folders (walked to any depth) and globs.
    labels
        The labels to choose from.
    labels_file
        More labels: a text file with one a line, a JSON list, or a JSON object from file name to right label, with
        which the share of right answers is counted too.
    template
        A text with {} where the label goes; the label itself by default. Of several, the embeddings are averaged.
    model
        A local folder or a hub id.
    backend
        The framework that runs the model.
    device
        Where to run, such as cpu or cuda; by default the best there is.
    dtype
        Of the weights: float32, float16, bfloat16 or auto; by default float32.
    batch_size
        Pictures that are run at a time.
    top_k
        Labels to show for each picture.
    json
        Print a JSON object a line in place of a table.
    """
    for name, number in (("--batch-size", batch_size), ("--top-k", top_k)):
        if number < 1:
            raise ValueError(f"{name} {number}: give a whole number from 1 up")
    truths = _read_truths(labels_file)
    choices = _choices([*(labels or []), *truths.names])
    answers = Answers()
    paths = _find(images, answers, json=json)

    from tqdm import tqdm

    from clip_core.zero_shot import ZeroShotClassifier

    classifier = ZeroShotClassifier.from_pretrained(model, backend=backend, device=device, dtype=dtype)
    label_embeds = classifier.embed_labels(choices, template or ["{}"])
    batches = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    with tqdm(total=len(paths), unit="picture", disable=None if len(batches) > 1 else True) as bar:
        for batch in batches:
            for answer in _answer(classifier, label_embeds, choices, batch, answers, json=json):
                answer.labels = answer.labels[:top_k]
                answer.truth = truths.of_file.get(Path(answer.image).name)
                answers.named.append(answer)
                if json:
                    _print_json(answer)
            bar.update(len(batch))
    if not json:
        _print_table(answers.named)
    return BAD_INPUT if answers.errors else 0


@dataclass
class _Truths:
    names: list[str] = field(default_factory=list)
    of_file: dict[str, str] = field(default_factory=dict)


def _read_truths(path: Path | None) -> _Truths:
    if path is None:
        return _Truths()
    if not path.is_file():
        raise ValueError(f"--labels-file {path}: no such file")
    if path.suffix.lower() != ".json":
        return _Truths([line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()])
    content = read_json(path)
    of_file = content if isinstance(content, dict) else {}
    names = list(of_file.values()) if of_file else content
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"--labels-file {path}: a JSON list of labels is wanted, or an object from file name to label")
    return _Truths(names, of_file)


def _choices(labels: list[str]) -> list[str]:
    """The labels without repetition, in order."""
    choices = list(dict.fromkeys(labels))
    if not choices:
        raise ValueError("there are no labels to choose from; give --labels or --labels-file")
    if not all(label.strip() for label in choices):
        raise ValueError("one of the labels is empty; give each a word at least")
    return choices


def _find(patterns: list[str], answers: Answers, *, json: bool) -> list[Path]:
    from clip_core.image_files import ImageFileError, find_images

    paths: dict[Path, None] = {}
    for pattern in patterns:
        try:
            paths.update(dict.fromkeys(find_images(pattern)))
        except ImageFileError as error:
            _report(pattern, error, answers, json=json)
    return list(paths)


def _answer(
    classifier: ZeroShotClassifier,
    label_embeds: np.ndarray,
    choices: list[str],
    batch: list[Path],
    answers: Answers,
    *,
    json: bool,
) -> list[Answer]:
    """The answers for the pictures of a batch that can be read; the others are reported."""
    from clip_core.image_files import ImageFileError, open_image

    opened: dict[Path, Any] = {}
    for path in batch:
        try:
            opened[path] = open_image(path)
        except ImageFileError as error:
            _report(str(path), error, answers, json=json)
    if not opened:
        return []
    probabilities = classifier.classify(list(opened.values()), label_embeds)
    return [
        Answer(str(path), [(choices[index], float(row[index])) for index in (-row).argsort(kind="stable")])
        for path, row in zip(opened, probabilities, strict=True)
    ]


def _report(image: str, error: ImageFileError, answers: Answers, *, json: bool) -> None:
    answers.errors.append(image)
    print(f"clip-zoo: {error}", file=sys.stderr)
    if json:
        print(json_module.dumps({"image": image, "error": str(error)}, ensure_ascii=False))


def _print_json(answer: Answer) -> None:
    row: dict[str, Any] = {"image": answer.image}
    if answer.truth is not None:
        row["truth"] = answer.truth
    row["labels"] = [{"label": label, "probability": probability} for label, probability in answer.labels]
    print(json_module.dumps(row, ensure_ascii=False), flush=True)


def _print_table(answers: list[Answer]) -> None:
    if not answers:
        return
    from rich.console import Console
    from rich.table import Table

    told = [answer for answer in answers if answer.truth is not None]
    names = _short_names([answer.image for answer in answers])
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("picture", overflow="fold", no_wrap=True)
    for place in range(len(answers[0].labels)):
        table.add_column("likeliest" if place == 0 else f"{place + 1}.", overflow="fold")
    if told:
        table.add_column("right?", overflow="fold")
    for name, answer in zip(names, answers, strict=True):
        cells = [f"{probability:6.1%} {label}" for label, probability in answer.labels]
        verdict = "" if answer.truth is None else "yes" if _is_right(answer) else f"no, {answer.truth}"
        table.add_row(name, *cells, *([verdict] if told else []))
    console = Console()
    console.print(table)
    if told:
        right = sum(map(_is_right, told))
        console.print(f"{right} of {len(told)} right ({right / len(told):.1%})", highlight=False)


def _short_names(paths: list[str]) -> list[str]:
    """The paths without the folder that all of them are in."""
    folder = Path(os.path.commonpath([Path(path).parent for path in paths]))
    return [str(Path(path).relative_to(folder)) for path in paths]


def _is_right(answer: Answer) -> bool:
    return answer.labels[0][0] == answer.truth
