"""`clip-zoo classify`: classify images."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clip_core.commands.options import SEVERAL, Dtype, Integer, check_backend, images_of, texts_of
from clip_core.commands.streams import console, is_lost, print_row
from clip_core.commands.wording import LOCAL, as_typed
from clip_core.configuration.arguments import check_integers
from clip_core.hub.options import DEFAULT_MODEL
from clip_core.hub.printing import printable, valid_text
from clip_core.tasks.labels import LabelFile, read_labels

if TYPE_CHECKING:
    import numpy as np

    from clip_core.tasks.zero_shot import ZeroShotClassifier

BAD_INPUT = 2


_LONGEST = 2000  # characters of a path in a message or table


@dataclass
class Answer:
    """The answer for one image: its most likely labels, best first, and its true label if a file states it."""

    image: str
    labels: list[tuple[str, float]]
    truth: str | None = None


@dataclass
class Answers:
    """The images that were typed, the answers so far, and the images that could not be read."""

    given: list[str] = field(default_factory=list)
    named: list[Answer] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def classify(
    images: Annotated[list[str], Parameter(name="IMAGE", negative=""), LOCAL],
    /,
    *,
    labels: Annotated[list[str] | None, SEVERAL] = None,
    labels_file: Path | None = None,
    template: Annotated[list[str] | None, SEVERAL] = None,
    model: str = DEFAULT_MODEL,
    backend: str | None = None,
    device: str | None = None,
    dtype: Dtype = None,
    batch_size: Integer = 32,
    top_k: Integer = 5,
    label_cache: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Classify images: the most likely labels for each, with probabilities.

    Parameters
    ----------
    images
        Image files, folders (searched recursively) and globs.
    labels
        The labels to choose from.
    labels_file
        More labels: a text file with one per line, a JSON list, or a JSON object from file name to true label, which
        also reports the accuracy.
    template
        A text with {} for the label; by default the label itself. The embeddings of several are averaged.
    model
        A local folder or a hub id.
    backend
        The framework that runs the model: torch, flax or tf; by default the first of these that is installed.
    device
        The device, such as cpu or cuda; by default the best available.
    dtype
        The dtype of the weights: float32, float16, bfloat16 or auto; by default float32.
    batch_size
        Images to encode at a time.
    top_k
        Labels to show for each image.
    label_cache
        A folder that caches the embeddings of large label sets across runs; created if missing.
    json
        Print one JSON object per line instead of a table.
    """
    check_integers(batch_size=(batch_size, 1), top_k=(top_k, 1))
    if not model.strip():
        raise ValueError("--model is empty; give a local folder or a hub id")
    check_backend(backend, device)
    truths = LabelFile() if labels_file is None else read_labels(labels_file)
    choices = _choices([*(labels or []), *truths.names])
    answers = Answers(images)
    paths = _find(images, answers, json=json)
    if not paths:
        return BAD_INPUT

    from tqdm import tqdm

    from clip_core.tasks.zero_shot import ZeroShotClassifier

    classifier = ZeroShotClassifier.from_pretrained(
        model, backend=backend, device=device, dtype=dtype, label_cache=label_cache
    )
    with texts_of(model):
        label_embeds = classifier.embed_labels(choices, template or ["{}"])
    classifier = classifier.prepared(len(paths))  # after the labels: the label cache knows models by their weights
    batches = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    with images_of(model), tqdm(total=len(paths), unit="image", disable=None if len(batches) > 1 else True) as bar:
        for batch in batches:
            if is_lost():  # as in `clip-zoo classify ... --json | head`
                break
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
    """Return the distinct labels, in order."""
    choices = list(dict.fromkeys(labels))
    if not choices:
        raise ValueError("--labels and --labels-file contain no labels; give at least one")
    if not all(label.strip() for label in choices):
        raise ValueError("one of the labels in --labels or --labels-file is empty; remove it")
    return choices


def _find(patterns: list[str], answers: Answers, *, json: bool) -> list[Path]:
    from clip_core.images.decoding import ImageFileError
    from clip_core.images.inputs import find_images

    paths: dict[Path, None] = {}
    for pattern in patterns:
        try:
            paths.update(dict.fromkeys(find_images(pattern)))
        except ImageFileError as error:
            _report(pattern, str(error), answers, json=json)
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
    """Return the answers for the readable images of a batch; report the others."""
    from clip_core.tasks.images import encode_image_batches
    from clip_core.tasks.texts import NotFiniteError
    from clip_core.tasks.zero_shot import softmax

    def report(place: int, error: ValueError) -> None:
        prefix = f"images[{place}]: "
        if not str(error).startswith(prefix):
            raise error  # not about the file
        reason = str(error).removeprefix(prefix)
        if isinstance(error, NotFiniteError):  # those of reading name the file
            reason = f"{batch[place]}: {reason}"
        _report(str(batch[place]), reason, answers, json=json)

    # By their paths, so that only the images in preparation are in memory.
    encoded = encode_image_batches(
        classifier.encoder, classifier.processor, batch, batch_size=len(batch), on_error=report
    )
    return [
        Answer(str(batch[place]), [(choices[index], float(row[index])) for index in (-row).argsort(kind="stable")])
        for places, embeds in encoded
        for place, row in zip(places, softmax(classifier.encoder.logits_per_image(embeds, label_embeds)), strict=True)
    ]


def _report(image: str, reason: str, answers: Answers, *, json: bool) -> None:
    answers.errors.append(image)
    print(f"clip-zoo: {printable(as_typed(reason, 'IMAGE', answers.given), _LONGEST)}", file=sys.stderr)
    if json:
        print_row({"image": image, "error": reason})


def _print_json(answer: Answer) -> None:
    row: dict[str, Any] = {"image": answer.image}
    if answer.truth is not None:
        row["truth"] = answer.truth
    row["labels"] = [{"label": label, "probability": probability} for label, probability in answer.labels]
    print_row(row)


def _print_table(answers: list[Answer]) -> None:
    if not answers:
        return
    from rich.table import Table
    from rich.text import Text

    labelled = [answer for answer in answers if answer.truth is not None]
    names = _short_names([answer.image for answer in answers])
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("image", overflow="fold", no_wrap=True)
    for place in range(len(answers[0].labels)):
        table.add_column("most likely" if place == 0 else f"{place + 1}.", overflow="fold")
    if labelled:
        table.add_column("correct?", overflow="fold")
    for name, answer in zip(names, answers, strict=True):
        cells = [f"{probability:6.1%} {label}" for label, probability in answer.labels]
        verdict = "" if answer.truth is None else "yes" if _is_right(answer) else f"no, {answer.truth}"
        # As Text: rich would parse square brackets in a plain string as markup.
        table.add_row(*map(Text, (name, *cells, *([verdict] if labelled else []))))
    out = console()
    out.print(table)
    if labelled:
        right = sum(map(_is_right, labelled))
        out.print(f"{right} of {len(labelled)} correct ({right / len(labelled):.1%})")


def _short_names(paths: list[str]) -> list[str]:
    """Return the paths relative to the innermost folder that contains them all."""
    folder = Path(os.path.commonpath([Path(path).parent for path in paths]))
    names = [str(Path(path).relative_to(folder)) for path in paths]
    return [printable(valid_text(name), _LONGEST) for name in names]


def _is_right(answer: Answer) -> bool:
    return answer.labels[0][0] == answer.truth
