"""`clip-zoo evaluate`: evaluate a model by zero-shot classification, retrieval or a linear probe."""

from __future__ import annotations

import json as json_module
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from clip_core.commands.options import SEVERAL, Dtype, Integer, check_backend, images_of, texts_of
from clip_core.configuration.arguments import MOST_WORKERS, check_integers
from clip_core.hub.options import DEFAULT_MODEL
from clip_core.hub.printing import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clip_core.data.pairs import Pairs
    from clip_core.tasks.labels import LabelFile
    from clip_core.tasks.zero_shot import ZeroShotClassifier

BAD_INPUT = 2

_SHOWN = 5

Flag = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class ModelOptions:
    """The model to run, and how to run it.

    Parameters
    ----------
    model
        A local folder or a hub id.
    backend
        The framework that runs the model: torch, flax or tf; by default the first of these that is installed.
    device
        The device, such as cpu or cuda; by default the best available.
    dtype
        The dtype of the weights: float32, float16, bfloat16 or auto; by default float32.
    batch_size
        Images, or texts, to encode at a time.
    workers
        Processes that decode images; 0 to use this process only.
    """

    model: str = DEFAULT_MODEL
    backend: str | None = None
    device: str | None = None
    dtype: Dtype = None
    batch_size: Integer = 64
    workers: Integer = 2

    def __post_init__(self) -> None:
        check_integers(batch_size=(self.batch_size, 1))
        check_integers(most=MOST_WORKERS, workers=(self.workers, 0))
        if not self.model.strip():
            raise ValueError("--model is empty; give a local folder or a hub id")
        check_backend(self.backend, self.device)

    def classifier(self) -> ZeroShotClassifier:
        """Load the model and its processor."""
        from clip_core.tasks.zero_shot import ZeroShotClassifier

        return ZeroShotClassifier.from_pretrained(
            self.model, backend=self.backend, device=self.device, dtype=self.dtype
        ).prepared()

    def max_length(self) -> int:
        """Return the model's maximum text length in tokens."""
        from clip_core.configuration import CLIPConfig

        return int(CLIPConfig.from_pretrained(self.model).text_config.max_position_embeddings)


@Parameter(name="*")
@dataclass(frozen=True)
class Labels:
    """The labels of the data, and where to find them.

    Parameters
    ----------
    labels_file
        The classes, by default those in the data: a text file with one per line, a JSON list, or a JSON object from the
        data's labels, or the images' file names, to names.
    label_column
        The column of labels in a table, by default label; for shards, the extension of their files, such as cls.
    image_column
        The column of images.
    """

    labels_file: Path | None = None
    label_column: str | None = None
    image_column: str | None = None

    def read(self) -> LabelFile | None:
        """Read the labels file, if any."""
        from clip_core.tasks.labels import read_labels

        if self.labels_file is None:
            return None
        return read_labels(self.labels_file)

    def open(self, data: list[str]) -> Pairs:
        """Open the labelled images, checking the labels in advance where possible."""
        from clip_core.evaluation.labelled import choices, open_labelled

        known = self.read()
        pairs = open_labelled(
            _source(data), label_column=self.label_column, image_column=self.image_column, labels=known
        )
        choices(pairs, known)
        return pairs


def zero_shot(
    *,
    data: Annotated[list[str], SEVERAL],
    template: Annotated[list[str] | None, SEVERAL] = None,
    templates_file: Path | None = None,
    template_set: Literal["imagenet-7", "imagenet-80"] | None = None,
    labels: Labels | None = None,
    model_options: ModelOptions | None = None,
    json: Flag = False,
) -> int:
    """Classify images by their class names: top-1, top-5 and per-class accuracy.

    Parameters
    ----------
    data
        A folder with a subfolder of images per class; or a table, tar shards (WebDataset) or Parquet files.
    template
        A text with {} for the class name; by default the name itself. The embeddings of several are averaged.
    templates_file
        More templates, one per line.
    template_set
        More templates, written by OpenAI for ImageNet: a selection of 7, or all 80.
    json
        Print a JSON object instead of tables.
    """
    from clip_core.commands.evaluation_tables import print_zero_shot
    from clip_core.evaluation import zero_shot as task

    labels, model_options = labels or Labels(), model_options or ModelOptions()
    prompts = _prompts(template, templates_file, template_set)
    pairs = labels.open(data)
    classifier = model_options.classifier()
    with texts_of(model_options.model), images_of(model_options.model), _progress([pairs]) as tell:
        report = task.evaluate(
            classifier,
            pairs,
            labels=labels.read(),
            templates=prompts,
            max_length=model_options.max_length(),
            batch_size=model_options.batch_size,
            workers=model_options.workers,
            tell=tell,
        )
    return _tell(report, print_zero_shot, json=json)


def retrieval(
    *,
    data: Annotated[list[str], SEVERAL],
    image_column: str | None = None,
    caption_column: str | None = None,
    model_options: ModelOptions | None = None,
    json: Flag = False,
) -> int:
    """Retrieve texts by image and images by text: recall at 1, 5 and 10, and mean reciprocal rank.

    Images with equal pixels count as one image, and texts with equal tokens as one text; all matches are correct.

    Parameters
    ----------
    data
        A folder of images with captions, a table, tar shards (WebDataset), or Parquet files.
    image_column
        The column of images.
    caption_column
        The column of captions.
    json
        Print a JSON object instead of a table.
    """
    from clip_core.commands.evaluation_tables import print_retrieval
    from clip_core.data import open_pairs
    from clip_core.evaluation import retrieval as task

    model_options = model_options or ModelOptions()
    pairs = task.by_file(open_pairs(_source(data), image_column=image_column, caption_column=caption_column))
    classifier = model_options.classifier()
    with texts_of(model_options.model), images_of(model_options.model), _progress([pairs]) as tell:
        report = task.evaluate(
            classifier,
            pairs,
            max_length=model_options.max_length(),
            batch_size=model_options.batch_size,
            workers=model_options.workers,
            tell=tell,
        )
    return _tell(report, print_retrieval, json=json)


def probe(
    *,
    data: Annotated[list[str], SEVERAL],
    test_data: Annotated[list[str] | None, SEVERAL] = None,
    test_share: float = 0.2,
    seed: Integer = 0,
    labels: Labels | None = None,
    model_options: ModelOptions | None = None,
    json: Flag = False,
) -> int:
    """Classify images with a linear classifier on their frozen embeddings.

    The classifier is a logistic regression; the strength of its penalty is chosen on a fifth of the training data.

    Parameters
    ----------
    data
        The training data; see clip-zoo evaluate zero-shot.
    test_data
        The test data; by default a part of the training data is held out.
    test_share
        The fraction of each class to hold out.
    seed
        The seed of the splits.
    json
        Print a JSON object instead of tables.
    """
    from clip_core.commands.evaluation_tables import print_probe
    from clip_core.evaluation import probe as task
    from clip_core.evaluation.logistic import optimizer

    optimizer()  # fails early if SciPy is missing
    check_integers(seed=(seed, 0))
    if not 0 < test_share < 1:
        raise ValueError(f"--test-share {test_share:g}: give a number between 0 and 1")
    labels, model_options = labels or Labels(), model_options or ModelOptions()
    sources = [labels.open(one) for one in (data, test_data) if one]
    classifier = model_options.classifier()
    with images_of(model_options.model), _progress(sources) as tell:
        report = task.evaluate(
            classifier,
            *sources,
            test_share=test_share,
            labels=labels.read(),
            batch_size=model_options.batch_size,
            workers=model_options.workers,
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

    with tqdm(total=sum(map(len, sources)), unit="image", disable=None) as bar:
        yield bar.update


def _tell(report: Any, print_tables: Callable[[Any], None], *, json: bool) -> int:
    """Print a report and return the exit code."""
    if json:
        # In ASCII: all terminals and pipes accept it, and it preserves file names that cannot be decoded.
        print(json_module.dumps(report.to_dict()))
    else:
        print_tables(report)
        if report.broken:
            print(f"unusable samples skipped: {len(report.broken)}")
            for sample in report.broken[:_SHOWN]:
                print(f"  {printable(sample.key)}: {printable(sample.reason)}")
            print("  ...\n" * (len(report.broken) > _SHOWN), end="")
    return BAD_INPUT if report.broken else 0
