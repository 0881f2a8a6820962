"""The runs of one framework, in this process or in a separate one."""

from __future__ import annotations

import gc
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clip_core.backends import load_backend
from clip_core.data.pool import WorkerPool
from converters.verification import reference_trace
from converters.verification.runs import StoredRun, run_name
from converters.verification.variants import variants

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from clip_core.backends import Tracer
    from clip_core.modeling.parameters import AnyConfig
    from converters.verification.inputs import Inputs
    from converters.verification.tolerances import Precision

REFERENCE = "reference"

# Errors that a user can correct, which the caller raises again. Any other error is a fault of the framework.
_BAD_REQUESTS = (ImportError, OSError, ValueError)


class Subject(NamedTuple):
    """A checkpoint and everything needed to run it.

    Attributes:
        label: the prefix of a run's name, before the framework.
        temperature: see `StoredRun`, like `classifier_norm`.
    """

    source: str | os.PathLike[str]
    label: str
    class_name: str
    config: AnyConfig
    temperature: float
    classifier_norm: float
    inputs: Inputs


@dataclass(frozen=True)
class Job:
    """Everything that one framework has to run.

    Attributes:
        framework: the name of a backend, or "reference".
        subjects: the checkpoints.
        dtype: dtype of weights and computation.
        folder: an existing folder for the arrays.
        keywords: further keywords of the backend's `trace`.
    """

    framework: str
    subjects: list[Subject]
    dtype: Precision
    folder: Path
    keywords: dict[str, Any]


class Ran(NamedTuple):
    """The runs of a job, and the versions of the packages that ran them.

    Attributes:
        forms: for each form of the model (as loaded, and prepared for inference), a run for each checkpoint.
        versions: the version of each package.
    """

    forms: list[list[StoredRun]]
    versions: dict[str, str]


class _Framework(NamedTuple):
    trace: Tracer
    return_tensors: str
    versions: Callable[[], dict[str, str]]
    prepares: Callable[[str], bool] = lambda dtype: False  # noqa: ARG005


def run_job(job: Job) -> Ran:
    """Run every checkpoint of a job in this process.

    Raises:
        ImportError: the framework is not installed.
        ValueError: a checkpoint is damaged, or its parts do not fit.
    """
    framework = _framework(job.framework)
    forms = [False, True] if framework.prepares(job.dtype) else [False]
    runs = [[_run(framework, subject, job, prepared=prepared) for subject in job.subjects] for prepared in forms]
    # PyTorch's version number has a class of its own; unpickling it would import PyTorch.
    return Ran(runs, {package: str(version) for package, version in framework.versions().items()})


def run_job_alone(job: Job) -> Ran:
    """Run a job in a separate process.

    Raises:
        ImportError: the framework is not installed.
        ValueError: a checkpoint is damaged, or its parts do not fit.
        WorkerFailedError: the framework raised any other error, or its process died.
    """
    pool = WorkerPool(_run_or_error, 1, threads=None)
    try:
        (ran,) = pool.map([job], ahead=1)
    finally:
        pool.close()
    if isinstance(ran, Exception):
        raise ran
    result: Ran = ran
    return result


def _run_or_error(job: Job) -> Ran | Exception:
    try:
        return run_job(job)
    except _BAD_REQUESTS as error:
        return error


def _framework(name: str) -> _Framework:
    if name == REFERENCE:
        return _Framework(reference_trace.trace, "np", lambda: {"numpy": np.__version__})
    backend = load_backend(name)
    return _Framework(backend.trace, backend.return_tensors, backend.versions, backend.prepares)


def _run(framework: _Framework, subject: Subject, job: Job, *, prepared: bool) -> StoredRun:
    inputs = subject.inputs.arrays(framework.return_tensors)
    texts = [getattr(one.config, "text_config", one.config) for one in job.subjects]
    missing_eos = not any(getattr(text, "missing_eos", None) == "error" for text in texts)  # the same inputs for all
    own_variants = variants(subject.class_name, subject.config, inputs, missing_eos=missing_eos)
    keywords: dict[str, Any] = {**job.keywords, "variants": own_variants}
    if prepared:
        keywords |= {"prepared": True, "gradients": False, "train_step": False}
        keywords.pop("explain", None)
    if "input_ids" in inputs:
        _check_ids(inputs["input_ids"], subject)
    with np.errstate(all="ignore"):  # the comparison reports values that are not finite
        stages = framework.trace(subject.source, inputs, class_name=subject.class_name, dtype=job.dtype, **keywords)
    precision = "float64" if job.framework == REFERENCE else job.dtype
    own_folder = Path(tempfile.mkdtemp(dir=job.folder))
    name = run_name(subject.label, job.framework, prepared=prepared)
    run = StoredRun(
        name,
        precision,
        {**inputs, **stages},
        own_folder,
        subject.temperature,
        classifier_norm=subject.classifier_norm,
        without_gradients=prepared,
    )
    del stages
    gc.collect()  # models contain reference cycles
    return run


def _check_ids(input_ids: np.ndarray, subject: Subject) -> None:
    """Check that all ids have an embedding; frameworks treat other ids differently."""
    size = getattr(subject.config, "text_config", subject.config).vocab_size  # type: ignore[union-attr]
    if input_ids.max() >= size:
        raise ValueError(
            f"{subject.source}: its tokenizer produces the id {input_ids.max()}, but the model has {size} embeddings"
        )
