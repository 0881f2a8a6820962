"""The proof that frameworks, or checkpoints, give the same numbers: every stage of each run held against the others'.

All frameworks run in this process, one after the other: nothing but numpy arrays passes between them, none is started
twice, and a fault can be planted in any of them. A model is released before the next one is loaded, and what it
computed waits on disk, so that the memory which the largest run takes is enough for all.
"""

from __future__ import annotations

import gc
import itertools
import os
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from clip_core.backends import backend_names, load_backend
from converters.checkpoint import open_checkpoint
from converters.inspection.diff import computing_fields
from converters.sidecars.description import describe
from converters.verification import reference_trace
from converters.verification.comparison import compare
from converters.verification.inputs import Inputs, inputs_for, preparation
from converters.verification.result import Verification, in_order
from converters.verification.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from clip_core.backends import Tracer
    from clip_core.hub import HubOptions
    from clip_core.modeling.parameters import AnyConfig
    from converters.checkpoint import Checkpoint
    from converters.verification.tolerances import Precision

REFERENCE = "reference"
DTYPES: dict[str, Precision] = {
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
}


class _Framework(NamedTuple):
    name: str
    trace: Tracer
    return_tensors: str
    versions: Callable[[], dict[str, str]]


class _Subject(NamedTuple):
    """A checkpoint and what is needed to run it. `label` goes before the framework's name in that of a run."""

    source: str | os.PathLike[str]
    label: str
    class_name: str
    config: AnyConfig
    temperature: float
    inputs: Inputs


def verify(
    source: str | os.PathLike[str],
    *,
    against: str | os.PathLike[str] | None = None,
    frameworks: Sequence[str] | None = None,
    dtype: str = "fp32",
    gradients: bool = False,
    train_step: bool = False,
    **options: Unpack[HubOptions],
) -> Verification:
    """Run the same pictures and texts through frameworks and compare every stage.

    Args:
        source: a folder, file or hub id, in any format.
        against: another checkpoint of the same class; each framework's runs of the two are compared as well. It goes by
            its own configuration and prepares pictures and texts in its own way, where it tells one.
        frameworks: names of backends, and "reference" for float64 numpy; by default all that are installed.
        dtype: of weights and computation: "fp32", "bf16", "fp16", or these as numpy names them. The reference takes
            weights rounded to it, and computes in float64.
        gradients: compare the gradients of every parameter, too.
        train_step: compare every parameter after one step of AdamW, and the gradients.
        **options: where on the hub; see `clip_core.hub.HubOptions`.

    Raises:
        ValueError: a framework or dtype is unknown, there are no two runs to compare, or a checkpoint is damaged.
        ImportError: a framework that was asked for is not installed.
        FileNotFoundError: there is no such checkpoint.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is not known; give one of {', '.join(DTYPES)}")
    _check_names(frameworks, against)
    subjects = _subjects([source] if against is None else [source, against], options)
    chosen = _frameworks(frameworks)
    result = Verification(
        checkpoint=os.fspath(source),
        against=None if against is None else os.fspath(against),
        class_name=subjects[0].class_name,
        dtype=DTYPES[dtype],
        frameworks=[framework.name for framework in chosen],
        inputs=subjects[0].inputs.origin,
        configuration=_told_otherwise(subjects),
    )
    keywords = {"gradients": gradients or train_step, "train_step": train_step, **options}
    with tempfile.TemporaryDirectory(prefix="clip-zoo-verify-") as folder:
        plan = tqdm(list(itertools.product(subjects, chosen)), desc="Running", unit="run", disable=None)
        runs = [_run(framework, subject, DTYPES[dtype], Path(folder), keywords) for subject, framework in plan]
        own, others = runs[: len(chosen)], runs[len(chosen) :]
        pairs = [*itertools.combinations(own, 2), *zip(own, others, strict=bool(others))]
        bar = tqdm(pairs, desc="Comparing", unit="pair", disable=None)
        result.comparisons = in_order([comparison for a, b in bar for comparison in compare(a, b)])
    result.versions = _versions(chosen)
    return result


def _check_names(names: Sequence[str] | None, against: object) -> None:
    """Refuse unknown frameworks, before anything is loaded."""
    if names is None:
        return
    known = [REFERENCE, *backend_names()]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no framework {name!r}; there are {', '.join(known)}")
    if len(set(names)) < (2 if against is None else 1):
        raise ValueError(f"{', '.join(names) or 'nothing'} is not enough to compare; name some of {', '.join(known)}")


def _frameworks(names: Sequence[str] | None) -> list[_Framework]:
    """The frameworks by name; without names, the reference and all whose packages are installed."""
    if names is not None:
        return [_framework(name) for name in dict.fromkeys(names)]
    found = [_framework(REFERENCE)]
    for name in backend_names():
        try:
            found.append(_framework(name))
        except ImportError:
            continue
    if len(found) == 1:
        raise ValueError("no framework is installed: pip install 'clip-zoo[all]', or one of torch, tf, flax")
    return found


def _framework(name: str) -> _Framework:
    if name == REFERENCE:
        return _Framework(name, reference_trace.trace, "np", lambda: {"numpy": np.__version__})
    backend = load_backend(name)
    return _Framework(name, backend.trace, backend.return_tensors, backend.versions)


def _subjects(sources: Sequence[str | os.PathLike[str]], options: HubOptions) -> list[_Subject]:
    """The checkpoints, ready to be run.

    Raises:
        ValueError: they are not of one class.
    """
    checkpoints = [open_checkpoint(source, **options) for source in sources]
    told = [describe(checkpoint, source, **options) for checkpoint, source in zip(checkpoints, sources, strict=True)]
    if told[0].class_name != told[-1].class_name:
        raise ValueError(
            f"{sources[0]} is a {told[0].class_name} and {sources[-1]} a {told[-1].class_name}; they cannot be compared"
        )
    ways = [preparation(source, description, **options) for source, description in zip(sources, told, strict=True)]
    return [
        _Subject(
            source=source,
            label="" if place == 0 else "against ",
            class_name=description.class_name,
            config=description.config,
            temperature=_temperature(checkpoint),
            # What a checkpoint does not tell is done in the other's way.
            inputs=inputs_for(description.class_name, description.config, [ways[place], *ways], told[0].config),
        )
        for place, (source, checkpoint, description) in enumerate(zip(sources, checkpoints, told, strict=True))
    ]


def _temperature(checkpoint: Checkpoint) -> float:
    return float(np.exp(checkpoint["logit_scale"].astype(np.float64))) if "logit_scale" in checkpoint else 1.0


def _told_otherwise(subjects: Sequence[_Subject]) -> dict[str, tuple[Any, Any]]:
    """Fields of the configurations that differ and change what is computed."""
    one, other = (computing_fields(subject.config) for subject in (subjects[0], subjects[-1]))
    return {name: (one.get(name), other.get(name)) for name in one | other if one.get(name) != other.get(name)}


def _run(framework: _Framework, subject: _Subject, dtype: Precision, folder: Path, keywords: dict[str, Any]) -> Run:
    inputs = subject.inputs.arrays(framework.return_tensors)
    if "input_ids" in inputs:
        _check_ids(inputs["input_ids"], subject)
    with np.errstate(all="ignore"):  # what is not finite shows in the comparison
        stages = framework.trace(subject.source, inputs, class_name=subject.class_name, dtype=dtype, **keywords)
    precision = "float64" if framework.name == REFERENCE else dtype
    own_folder = Path(tempfile.mkdtemp(dir=folder))
    run = Run(subject.label + framework.name, precision, {**inputs, **stages}, own_folder, subject.temperature)
    del stages
    gc.collect()  # models hold references to themselves
    return run


def _check_ids(input_ids: np.ndarray, subject: _Subject) -> None:
    """Refuse ids that the model has no embedding for; frameworks differ in what they do then."""
    size = getattr(subject.config, "text_config", subject.config).vocab_size  # type: ignore[union-attr]
    if input_ids.max() >= size:
        raise ValueError(
            f"{subject.source}: its tokenizer makes the id {input_ids.max()}, and the model has {size} embeddings"
        )


def _versions(frameworks: Sequence[_Framework]) -> dict[str, str]:
    """Of the packages that ran, and of the machine."""
    found = {"python": platform.python_version()}
    for framework in frameworks:
        found |= framework.versions()
    return found | {"system": platform.platform(), "processor": f"{_processor()}, {os.cpu_count()} threads"}


def _processor() -> str:
    """The processor's name, which Linux tells in a file alone."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
