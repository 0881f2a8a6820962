"""Comparison of a checkpoint with a model: missing, unexpected and mismatched tensors in one report."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clip_core.modeling.parameters import parameter_table
from converters.checkpoint import Checkpoint, CheckpointError
from converters.naming.names import ROOTS, SAFETY_CHECKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clip_core.modeling.parameters import AnyConfig
    from converters.tensors import TensorEntry

ADVICE = (
    "\nIf this is intended, pass strict=False to initialize missing parameters and ignore unexpected tensors, "
    "ignore_mismatched_sizes=True to initialize parameters of another shape."
)

# The configuration's field that determines the length of an axis: the parameter, its axis, the field.
_FIELDS = (
    ("text_model.embeddings.position_embedding.weight", 0, "text_config.max_position_embeddings"),
    ("text_model.embeddings.token_embedding.weight", 0, "text_config.vocab_size"),
    ("text_model.embeddings.token_embedding.weight", 1, "text_config.hidden_size"),
    ("text_model.encoder.layers.0.mlp.fc1.weight", 0, "text_config.intermediate_size"),
    ("vision_model.embeddings.patch_embedding.weight", 0, "vision_config.hidden_size"),
    ("vision_model.embeddings.patch_embedding.weight", 1, "vision_config.num_channels"),
    ("vision_model.embeddings.patch_embedding.weight", 2, "vision_config.patch_size"),
    ("vision_model.embeddings.position_embedding.weight", 0, "(vision_config.image_size / patch_size)² + 1"),
    ("vision_model.encoder.layers.0.mlp.fc1.weight", 0, "vision_config.intermediate_size"),
    ("text_projection.weight", 0, "projection_dim"),
    ("visual_projection.weight", 0, "projection_dim"),
    ("classifier.weight", 0, "num_labels"),
)

# Names of each kind in a message; another kind of model would list hundreds. A message of one line has fewer.
_SHOWN, _SUMMARIZED = 20, 3


@dataclass
class LoadReport:
    """The comparison of a checkpoint's tensors with a model's parameters.

    Attributes:
        matched: the parameters that the checkpoint contains in the right shape.
        missing: the parameters that the checkpoint lacks.
        unexpected: the tensors that the model lacks.
        other_parts: the tensors of a part of CLIP that the model lacks, such as those of the vision tower if a text
            model is loaded. They are not a fault.
        mismatched: the name, the shape in the checkpoint and the shape in the model of each parameter whose shapes
            differ.
    """

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    other_parts: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)

    def loading_info(self) -> dict[str, list[object]]:
        """Return the report in the form of `output_loading_info=True`, with transformers' keys."""
        return {
            "missing_keys": list(self.missing),
            "unexpected_keys": [*self.unexpected, *self.other_parts],
            "mismatched_keys": list(self.mismatched),
            "error_msgs": [],
        }

    def sections(self) -> list[tuple[str, list[str]]]:
        """Return the faults as titles with a row for each tensor; empty if there are none."""
        mismatched = [
            f"{name}: {in_file} in the checkpoint, {wanted} in the model" for name, in_file, wanted in self.mismatched
        ]
        parts = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", mismatched))
        return [(title, rows) for title, rows in parts if rows]

    def __str__(self) -> str:
        return "\n".join(_section(*section) for section in self.sections())


def check_fit(
    checkpoint: Checkpoint,
    config: AnyConfig,
    class_name: str,
    *,
    strict: bool = True,
    may_lack: bool = False,
    ignore_mismatched_sizes: bool = False,
    new_head: bool = False,
    advice: str = ADVICE,
) -> tuple[LoadReport, list[str]]:
    """Compare a checkpoint with a model class; a single error lists everything that does not fit.

    Args:
        checkpoint: the checkpoint; no tensor is read.
        config: the model's configuration. `projection_dim` comes from the weight if no file states it.
        class_name: the model class.
        strict: False initializes missing parameters and ignores unexpected tensors.
        may_lack: accept missing parameters even if `strict`, because the caller initializes them.
        ignore_mismatched_sizes: initialize parameters whose shape in the checkpoint differs.
        new_head: initialize a classifier that the checkpoint lacks.
        advice: the end of the error message.

    Returns:
        The report, and the parameters to initialize.

    Raises:
        CheckpointError: the checkpoint does not fit.
    """
    adopt_projection(config, checkpoint)
    report = match(parameter_table(config, class_name), checkpoint)

    def is_new(name: str) -> bool:
        return new_head and _root(name) == "classifier"

    faults = LoadReport(
        missing=[] if may_lack or not strict else [name for name in report.missing if not is_new(name)],
        unexpected=report.unexpected if strict else [],
        mismatched=[] if ignore_mismatched_sizes else report.mismatched,
    )
    if faults.sections():
        raise fit_error(faults, checkpoint, class_name, advice)
    check_floats({name: checkpoint.entries[name] for name in report.matched}, checkpoint)
    return report, report.missing + [name for name, *_ in report.mismatched]


def check_floats(entries: Mapping[str, TensorEntry], checkpoint: Checkpoint) -> None:
    """Check that weights are floating-point numbers. Integers are quantized weights, and other tensors scale them.

    Args:
        entries: the weights by name; none is read.
        checkpoint: the checkpoint that contains them.

    Raises:
        CheckpointError: some are integers.
    """
    integers = [f"{name}: {entry.dtype}" for name, entry in entries.items() if entry.dtype.kind in "iub"]
    if integers:
        raise CheckpointError(
            f"{checkpoint.source} has {_in_one_line('parameters of integers', integers)}; expected floating-point "
            "weights. If it is quantized, save it dequantized with the library that quantized it"
        )


def match(table: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint) -> LoadReport:
    """Compare a checkpoint with a model's parameter table; no tensor is read."""
    report = LoadReport()
    for name, shape in table.items():
        if name not in checkpoint.entries:
            report.missing.append(name)
        elif checkpoint.shape(name) != shape:
            report.mismatched.append((name, checkpoint.shape(name), shape))
        else:
            report.matched.append(name)
    other_roots = (ROOTS | SAFETY_CHECKER) - {_root(name) for name in table}
    for name in checkpoint:
        if name not in table:
            (report.other_parts if _root(name) in other_roots else report.unexpected).append(name)
    return report


def fit_error(faults: LoadReport, checkpoint: Checkpoint, class_name: str, advice: str = ADVICE) -> CheckpointError:
    """Return the error for a checkpoint that does not fit. It also names the configuration's fields at fault.

    Args:
        faults: the tensors that do not fit.
        checkpoint: the checkpoint.
        class_name: the model class.
        advice: the end of the message.
    """
    title = f"{checkpoint.source} does not fit {class_name}"
    fields = list(dict.fromkeys([*_fields_of_shapes(faults), *_fields_of_layers(faults, checkpoint)]))
    sections = [*faults.sections(), *([("at fault in the configuration", fields)] if fields else [])]
    report = "\n".join(_section(*section) for section in sections)
    summary = "; ".join(fields[:_SUMMARIZED] + [_in_one_line(*section) for section in faults.sections()])
    return CheckpointError(f"{title}.\n{report}{advice}", f"{title}: {summary}")


def _fields_of_shapes(faults: LoadReport) -> list[str]:
    return [
        f"{field_name} is {expected[axis]}, but the checkpoint has {found[axis]}"
        for ending, axis, field_name in _FIELDS
        for name, found, expected in faults.mismatched
        if f".{name}".endswith(f".{ending}") and len(found) == len(expected) and found[axis] != expected[axis]
    ]


def _fields_of_layers(faults: LoadReport, checkpoint: Checkpoint) -> list[str]:
    lines = []
    for tower in ("text", "vision"):
        found = _layers(tower, checkpoint)
        lacking, extra = _layers(tower, faults.missing) - found, _layers(tower, faults.unexpected)
        if found and (lacking or extra):
            expected = len((found | lacking) - extra)
            lines.append(f"{tower}_config.num_hidden_layers is {expected}, but the checkpoint has {len(found)}")
    return lines


def _layers(tower: str, names: Iterable[str]) -> set[str]:
    """Return the indices of a tower's layers found in the names of parameters."""
    layer = re.compile(rf"\b{tower}_model\.encoder\.layers\.(\d+)\.")
    return {found[1] for name in names if (found := layer.search(name))}


def adopt_projection(config: AnyConfig, checkpoint: Checkpoint) -> None:
    """Take `projection_dim` from the weight if neither a file nor the caller states it."""
    if config.projection_dim_stated:
        return
    for name in checkpoint:
        if name.endswith(("text_projection.weight", "visual_projection.weight")):
            config.projection_dim = checkpoint.shape(name)[0]


def _root(name: str) -> str:
    return name.partition(".")[0]


def _in_one_line(title: str, rows: list[str]) -> str:
    more = f" and {len(rows) - _SUMMARIZED} more" if len(rows) > _SUMMARIZED else ""
    return f"{len(rows)} {title} ({'; '.join(rows[:_SUMMARIZED])}{more})"


def _section(title: str, rows: list[str]) -> str:
    shown = [f"    {row}" for row in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        shown.append(f"    ... and {len(rows) - _SHOWN} more")
    return "\n".join([f"{len(rows)} {title}:", *shown])
