"""`clip-zoo evaluate`: how good a model is, by zero-shot classification, retrieval or a linear probe."""

from __future__ import annotations

import json as json_module
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clip_core.data.pairs import Pairs
    from clip_core.tasks.labels import LabelFile
    from clip_core.tasks.zero_shot import ZeroShotClassifier

DEFAULT_MODEL = "openai/clip-vit-base-patch32"
BAD_INPUT = 2

_SHOWN = 5

Several = Parameter(consume_multiple=True, negative="")
Flag = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Running:
    """What runs, and how.

    Parameters
    ----------
    model
        A local folder or a hub id.
    backend
        The framework that runs the model.
    device
        Where to run, such as cpu or cuda; by default the best there is.
    dtype
        Of the weights: float32, float16, bfloat16 or auto; by default float32.
    batch_size
        Pictures, or texts, that are run at a time.
    workers
        Processes that decode pictures; 0 for none but this one.
    """

    model: str = DEFAULT_MODEL
    backend: str = "torch"
    device: str | None = None
    dtype: str | None = None
    batch_size: int = 64
    workers: int = 2

    def __post_init__(self) -> None:
        for name, value, least in (("--batch-size", self.batch_size, 1), ("--workers", self.workers, 0)):
            if value < least:
                raise ValueError(f"{name} {value}: give a whole number from {least} up")
        if not self.model.strip():
            raise ValueError("--model is empty; give a local folder or a hub id")

    def classifier(self) -> ZeroShotClassifier:
        """The model and its processor."""
        from clip_core.tasks.zero_shot import ZeroShotClassifier

        return ZeroShotClassifier.from_pretrained(
            self.model, backend=self.backend, device=self.device, dtype=self.dtype
        )

    def max_length(self) -> int:
        """Tokens that the model takes."""
        from clip_core.configuration import CLIPConfig

        return int(CLIPConfig.from_pretrained(self.model).text_config.max_position_embeddings)


@Parameter(name="*")
@dataclass(frozen=True)
class Labels:
    """Where labels are.

    Parameters
    ----------
    labels_file
        The classes, by default those in the data: a text file with one a line, a JSON list, or a JSON object from the
        data's labels, or the pictures' file names, to names.
    label_column
        The column of labels in a table; of shards, the ending of their files, such as cls.
    image_column
        The column of pictures.
    """

    labels_file: Path | None = None
    label_column: str = "label"
    image_column: str | None = None

    def read(self) -> LabelFile | None:
        """What the file says."""
        from clip_core.tasks.labels import read_labels

        return None if self.labels_file is None else read_labels(self.labels_file)

    def open(self, data: list[str]) -> Pairs:
        """The pictures with their labels, which are checked where that is possible beforehand."""
        from clip_core.evaluation.labelled import choices, open_labelled

        known = self.read()
        pairs = open_labelled(
            _source(data), label_column=self.label_column, image_column=self.image_column, labels=known
        )
        choices(pairs, known)
        return pairs


def zero_shot(
    *,
    data: Annotated[list[str], Several],
    template: Annotated[list[str] | None, Several] = None,
    templates_file: Path | None = None,
    template_set: Literal["imagenet-7", "imagenet-80"] | None = None,
    labels: Labels | None = None,
    running: Running | None = None,
    json: Flag = False,
) -> int:
    """Classify pictures by the names of their classes: top-1, top-5, and each class.

    Parameters
    ----------
    data
        A folder with a folder of pictures for each class; or a table, tar shards (WebDataset) or Parquet files.
    template
        A text with {} where the class's name goes; the name itself by default. Of several, the embeddings are averaged.
    templates_file
        More of them, one a line.
    template_set
        More of them, which OpenAI wrote for ImageNet: a chosen 7, or all 80.
    json
        Print a JSON object in place of tables.
    """
    from clip_core.commands.evaluation_tables import print_zero_shot
    from clip_core.evaluation import zero_shot as task

    labels, running = labels or Labels(), running or Running()
    prompts = _prompts(template, templates_file, template_set)
    pairs = labels.open(data)
    classifier = running.classifier()
    with _progress([pairs]) as tell:
        report = task.evaluate(
            classifier,
            pairs,
            labels=labels.read(),
            templates=prompts,
            max_length=running.max_length(),
            batch_size=running.batch_size,
            workers=running.workers,
            tell=tell,
        )
    return _tell(report, print_zero_shot, json=json)


def retrieval(
    *,
    data: Annotated[list[str], Several],
    image_column: str | None = None,
    caption_column: str | None = None,
    running: Running | None = None,
    json: Flag = False,
) -> int:
    """Find texts by pictures and pictures by texts: recall at 1, 5 and 10, and the mean reciprocal rank.

    Pictures of the same pixels are one picture, and texts of the same tokens one text; all that belong are right.

    Parameters
    ----------
    data
        A folder of pictures with captions, a table, tar shards (WebDataset), or Parquet files.
    image_column
        The column of pictures.
    caption_column
        The column of captions.
    json
        Print a JSON object in place of a table.
    """
    from clip_core.commands.evaluation_tables import print_retrieval
    from clip_core.data import open_pairs
    from clip_core.evaluation import retrieval as task

    running = running or Running()
    pairs = task.by_file(open_pairs(_source(data), image_column=image_column, caption_column=caption_column))
    classifier = running.classifier()
    with _progress([pairs]) as tell:
        report = task.evaluate(
            classifier,
            pairs,
            max_length=running.max_length(),
            batch_size=running.batch_size,
            workers=running.workers,
            tell=tell,
        )
    return _tell(report, print_retrieval, json=json)


def probe(
    *,
    data: Annotated[list[str], Several],
    test_data: Annotated[list[str] | None, Several] = None,
    test_share: float = 0.2,
    seed: int = 0,
    labels: Labels | None = None,
    running: Running | None = None,
    json: Flag = False,
) -> int:
    """Classify pictures by a linear classifier on their frozen embeddings.

    It is a logistic regression; the strength of its penalty is chosen on a fifth of the training data.

    Parameters
    ----------
    data
        The training data; see clip-zoo evaluate zero-shot.
    test_data
        The test data; by default a part of the other is held out.
    test_share
        How large a part, of each class.
    seed
        Of what is held out.
    json
        Print a JSON object in place of tables.
    """
    from clip_core.commands.evaluation_tables import print_probe
    from clip_core.evaluation import probe as task
    from clip_core.evaluation.logistic import optimizer

    optimizer()  # an error now, where SciPy is missing
    labels, running = labels or Labels(), running or Running()
    sources = [labels.open(one) for one in (data, test_data) if one]
    classifier = running.classifier()
    with _progress(sources) as tell:
        report = task.evaluate(
            classifier,
            *sources,
            test_share=test_share,
            labels=labels.read(),
            batch_size=running.batch_size,
            workers=running.workers,
            seed=seed,
            tell=tell,
        )
    return _tell(report, print_probe, json=json)


def _source(data: list[str]) -> str | list[str]:
    return data[0] if len(data) == 1 else data


def _prompts(given: list[str] | None, file: Path | None, preset: str | None) -> Sequence[str]:
    from clip_core.evaluation.templates import PRESETS, read_templates
    from clip_core.tasks.zero_shot import check_templates

    found = [*(given or []), *(read_templates(file) if file is not None else []), *PRESETS.get(preset or "", ())]
    return check_templates(found or ["{}"])


@contextmanager
def _progress(sources: Sequence[Pairs]) -> Iterator[Callable[[int], object]]:
    from tqdm import tqdm

    with tqdm(total=sum(map(len, sources)), unit="picture", disable=None) as bar:
        yield bar.update


def _tell(report: Any, print_tables: Callable[[Any], None], *, json: bool) -> int:
    """Print a report; the exit code."""
    if json:
        # In ASCII, which every terminal and pipe takes, and which keeps file names that are no text.
        print(json_module.dumps(report.to_dict()))
    else:
        print_tables(report)
        if report.broken:
            print(f"left out, as they cannot be used: {len(report.broken)}")
            for sample in report.broken[:_SHOWN]:
                print(f"  {sample.key}: {sample.reason}")
            print("  ...\n" * (len(report.broken) > _SHOWN), end="")
    return BAD_INPUT if report.broken else 0
