"""The proof that frameworks, or checkpoints, compute the same values, by comparing every stage of each run.

Each framework runs in its own process, one after another, because some frameworks crash beside others: with triton
installed, PyTorch crashes after TensorFlow. Results are stored on disk, so peak memory is that of the largest run.
"""

from __future__ import annotations

import itertools
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from clip_core.backends import BrokenLibraryError, NotInstalledError, backend_names
from clip_core.configuration.arguments import check_one_of, check_texts
from clip_core.data.pool import WorkerFailedError
from clip_core.hub.files import scratch_folder
from converters.checkpoint import open_checkpoint
from converters.inspection.diff import computing_fields
from converters.sidecars.description import describe
from converters.verification.comparison import compare
from converters.verification.inputs import inputs_for, stated_preprocessing
from converters.verification.jobs import REFERENCE, Job, Subject, run_job, run_job_alone
from converters.verification.result import Verification, by_stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from clip_core.hub import HubOptions
    from converters.checkpoint import Checkpoint
    from converters.verification.runs import StoredRun
    from converters.verification.tolerances import Precision

DTYPES: dict[str, Precision] = {
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
}


def verify(
    source: str | os.PathLike[str],
    *,
    against: str | os.PathLike[str] | None = None,
    backends: Sequence[str] | None = None,
    dtype: str = "fp32",
    gradients: bool = False,
    train_step: bool = False,
    explain: bool = False,
    own_processes: bool = True,
    **options: Unpack[HubOptions],
) -> Verification:
    """Run the same images and texts through several frameworks and compare every stage.

    Args:
        source: a folder, file or hub id, in any format.
        against: another checkpoint of the same class. Each framework's runs of the two are also compared. It uses its
            own configuration and preprocessing, if stated.
        backends: names of backends, and "reference" for float64 numpy; by default all that are installed.
        dtype: dtype of weights and computation: "fp32", "bf16", "fp16", or a numpy name. The reference rounds the
            weights to this dtype and computes in float64.
        gradients: also compare the gradients of every parameter.
        train_step: also compare the gradients, and every parameter after one step of AdamW.
        explain: also compare the explanations of a CLIPModel: the heatmaps of each method and the relevance of tokens,
            for every start layer.
        own_processes: run each framework in its own process, so that a crash affects only that framework. False runs
            all of them in this process, for debugging.
        **options: hub options; see `clip_core.hub.HubOptions`.

    Returns:
        The comparisons of all stages, and the verdict.

    Raises:
        TypeError: `backends` is a single name.
        ValueError: a framework or dtype is unknown, there is only one run, a checkpoint is damaged, or it is not a
            CLIPModel and `explain` is given.
        ImportError: a requested framework is not installed.
        FileNotFoundError: there is no such checkpoint.
    """
    check_texts(backends=backends)
    if dtype not in DTYPES:
        check_one_of(dtype=(dtype, dict.fromkeys(DTYPES.values())))
    _check_names(backends, against)
    subjects = subjects_of([source] if against is None else [source, against], options)
    keywords: dict[str, Any] = {"gradients": gradients or train_step, "train_step": train_step, **options}
    keywords |= _explaining(subjects[0], explain=explain)
    result = Verification(
        checkpoint=os.fspath(source),
        against=None if against is None else os.fspath(against),
        class_name=subjects[0].class_name,
        dtype=DTYPES[dtype],
        backends=[],
        inputs=subjects[0].inputs.origin,
        configuration=_differing_fields(subjects),
        versions={"python": platform.python_version()},
    )
    with scratch_folder("clip-zoo-verify-") as folder:
        runs: list[list[StoredRun]] = []
        names = [REFERENCE, *backend_names()] if backends is None else dict.fromkeys(backends)
        for name in tqdm(list(names), desc="Running", unit="framework", disable=None):
            job = Job(name, subjects, DTYPES[dtype], folder, keywords)
            try:
                ran = run_job_alone(job) if own_processes else run_job(job)
            except BrokenLibraryError as error:
                result.failures[name] = str(error)
            except NotInstalledError:
                if backends is not None:
                    raise
                continue
            except WorkerFailedError as error:
                result.failures[name] = str(error)
            else:
                runs += ran.forms
                result.runs += [form[0].name for form in ran.forms]
                result.versions |= ran.versions
            result.backends.append(name)
        if result.backends == [REFERENCE] and backends is None:
            raise ValueError("no framework is installed: pip install 'clip-zoo[all]'")
        bar = tqdm(_pairs(runs), desc="Comparing", unit="pair", disable=None)
        result.comparisons = by_stage([comparison for a, b in bar for comparison in compare(a, b)])
    result.versions |= _machine()
    return result


def _explaining(subject: Subject, *, explain: bool) -> dict[str, Any]:
    """Return the keyword that asks for explanations; none otherwise, because a plug-in may not know it."""
    if explain and subject.class_name != "CLIPModel":
        raise ValueError(
            f"explain=True needs a CLIPModel, which has both towers; {subject.source} is a {subject.class_name}"
        )
    return {"explain": True} if explain else {}


def _pairs(runs: Sequence[Sequence[StoredRun]]) -> list[tuple[StoredRun, StoredRun]]:
    """Return the pairs of frameworks' runs of the first checkpoint, then the pairs of each framework's runs of both."""
    of_first = itertools.combinations([of_framework[0] for of_framework in runs], 2)
    return [*of_first, *((own, other) for own, *others in runs for other in others)]


def _check_names(names: Sequence[str] | None, against: object) -> None:
    """Check that all frameworks are known, before anything is loaded."""
    if names is None:
        return
    known = [REFERENCE, *backend_names()]
    for name in names:
        if name not in known:
            raise ValueError(f"backends={list(names)!r}: {name!r} is unknown; give some of {', '.join(known)}")
    if len(set(names)) < (2 if against is None else 1):
        raise ValueError(f"backends={list(names)!r} is not enough to compare; give at least two of {', '.join(known)}")


def subjects_of(sources: Sequence[str | os.PathLike[str]], options: HubOptions) -> list[Subject]:
    """Return the checkpoints, ready to be run.

    Raises:
        ValueError: the model classes differ.
    """
    checkpoints = [open_checkpoint(source, **options) for source in sources]
    descriptions = [
        describe(checkpoint, source, **options) for checkpoint, source in zip(checkpoints, sources, strict=True)
    ]
    if descriptions[0].class_name != descriptions[-1].class_name:
        raise ValueError(
            f"{sources[0]} is a {descriptions[0].class_name} and {sources[-1]} a "
            f"{descriptions[-1].class_name}; they cannot be compared"
        )
    stated = [
        stated_preprocessing(source, description, **options)
        for source, description in zip(sources, descriptions, strict=True)
    ]
    return [
        Subject(
            source=source,
            label="" if place == 0 else "against ",
            class_name=description.class_name,
            config=description.config,
            temperature=_temperature(checkpoint),
            classifier_norm=_classifier_norm(checkpoint),
            # A checkpoint falls back on the other's preprocessing.
            inputs=inputs_for(
                description.class_name, description.config, [stated[place], *stated], descriptions[0].config
            ),
        )
        for place, (source, checkpoint, description) in enumerate(zip(sources, checkpoints, descriptions, strict=True))
    ]


def _temperature(checkpoint: Checkpoint) -> float:
    return float(np.exp(checkpoint["logit_scale"].astype(np.float64))) if "logit_scale" in checkpoint else 1.0


def _classifier_norm(checkpoint: Checkpoint) -> float:
    name = "classifier.weight"  # (labels, hidden)
    if name not in checkpoint:
        return 0.0
    return float(np.linalg.norm(checkpoint[name].astype(np.float64), axis=-1).max(initial=0.0))


def _differing_fields(subjects: Sequence[Subject]) -> dict[str, tuple[Any, Any]]:
    """Return the fields of the configurations that differ and change the computation."""
    one, other = (computing_fields(subject.config) for subject in (subjects[0], subjects[-1]))
    return {name: (one.get(name), other.get(name)) for name in one | other if one.get(name) != other.get(name)}


def _machine() -> dict[str, str]:
    return {"system": platform.platform(), "processor": f"{_processor()}, {os.cpu_count()} threads"}


def _processor() -> str:
    """Return the processor's name, which Linux states only in a file."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
