"""`clip-zoo classify`: name pictures."""

from __future__ import annotations

import json as json_module
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clip_core.tasks.labels import LabelFile, read_labels

if TYPE_CHECKING:
    import numpy as np

    from clip_core.images.inputs import ImageFileError
    from clip_core.tasks.zero_shot import ZeroShotClassifier

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
    label_cache: Path | None = None,
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
    label_cache
        A folder where the embeddings of many labels are kept for the next time; made where it is missing.
    json
        Print a JSON object a line in place of a table.
    """
    for name, number in (("--batch-size", batch_size), ("--top-k", top_k)):
        if number < 1:
            raise ValueError(f"{name} {number}: give a whole number from 1 up")
    if not model.strip():
        raise ValueError("--model is empty; give a local folder or a hub id")
    truths = LabelFile() if labels_file is None else read_labels(labels_file)
    choices = _choices([*(labels or []), *truths.names])
    answers = Answers()
    paths = _find(images, answers, json=json)
    if not paths:
        return BAD_INPUT

    from tqdm import tqdm

    from clip_core.tasks.zero_shot import ZeroShotClassifier

    classifier = ZeroShotClassifier.from_pretrained(
        model, backend=backend, device=device, dtype=dtype, label_cache=label_cache
    )
    label_embeds = classifier.embed_labels(choices, template or ["{}"])
    batches = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    with tqdm(total=len(paths), unit="picture", disable=None if len(batches) > 1 else True) as bar:
        for batch in batches:
            for answer in _answer(classifier, label_embeds, choices, batch, answers, json=json):
                answer.labels = answer.labels[:top_k]
                answer.truth = truths.label_of.get(Path(answer.image).name)
                answers.named.append(answer)
                if json:
                    _print_json(answer)
            bar.update(len(batch))
    if not json:
        _print_table(answers.named)
    return BAD_INPUT if answers.errors else 0


def _choices(labels: list[str]) -> list[str]:
    """The labels without repetition, in order."""
    choices = list(dict.fromkeys(labels))
    if not choices:
        raise ValueError("there are no labels to choose from; give --labels or --labels-file")
    if not all(label.strip() for label in choices):
        raise ValueError("one of the labels is empty; give each a word at least")
    return choices


def _find(patterns: list[str], answers: Answers, *, json: bool) -> list[Path]:
    from clip_core.images.inputs import ImageFileError, find_images

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
    from clip_core.images.inputs import ImageFileError, open_image

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
        _print_line({"image": image, "error": str(error)})


def _print_json(answer: Answer) -> None:
    row: dict[str, Any] = {"image": answer.image}
    if answer.truth is not None:
        row["truth"] = answer.truth
    row["labels"] = [{"label": label, "probability": probability} for label, probability in answer.labels]
    _print_line(row)


def _print_line(row: dict[str, Any]) -> None:
    # In ASCII, which every terminal and pipe takes, and which keeps file names that are no text.
    print(json_module.dumps(row), flush=True)


def _print_table(answers: list[Answer]) -> None:
    if not answers:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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
        # As texts: in a plain string rich would take what stands in brackets for a style.
        table.add_row(*map(Text, (name, *cells, *([verdict] if told else []))))
    console = Console()
    console.print(table)
    if told:
        right = sum(map(_is_right, told))
        console.print(f"{right} of {len(told)} right ({right / len(told):.1%})", highlight=False)


def _short_names(paths: list[str]) -> list[str]:
    """The paths without the folder that all of them are in."""
    folder = Path(os.path.commonpath([Path(path).parent for path in paths]))
    names = [str(Path(path).relative_to(folder)) for path in paths]
    return [os.fsencode(name).decode(errors="replace") for name in names]  # file names need not be text


def _is_right(answer: Answer) -> bool:
    return answer.labels[0][0] == answer.truth
