"""Facts about a checkpoint: format, model, preprocessing and known traps."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.configuration.files import CONFIG_NAME, read_config
from clip_core.hub.printing import counted
from clip_core.images.settings import ARGUMENTS
from converters.checkpoint import CheckpointError, formats_in, open_checkpoint
from converters.inspection.diff import compare_tensors
from converters.inspection.tokenizer_facts import tokenizer_facts
from converters.inspection.traps import TRAPS
from converters.inspection.traps.facts import Facts
from converters.naming.matching import check_fit
from converters.progress import progress
from converters.sidecars.description import beside, describe
from converters.tensors import in_order

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from clip_core.hub import HubOptions
    from converters.checkpoint import Checkpoint
    from converters.sidecars.companions import Description

_TOWER_FIELDS = {
    "num_hidden_layers": "layers",
    "hidden_size": "width",
    "num_attention_heads": "heads",
    "intermediate_size": "mlp",
    "hidden_act": "activation",
    "layer_norm_eps": "epsilon",
    "vocab_size": "vocabulary",
    "max_position_embeddings": "positions",
    "eos_token_id": "eos",
    "pad_token_id": "pad",
    "bos_token_id": "bos",
    "image_size": "image size",
    "patch_size": "patch size",
    "num_channels": "channels",
}


@dataclass
class Inspection:
    """Facts about a checkpoint.

    Attributes:
        source: the checkpoint.
        format: the format that was read: a name in `converters.formats.FORMATS`.
        formats: all formats of weights in the folder.
        layout: the name of the tensors' layout.
        files: the size of each weight file in bytes.
        class_name: the model class.
        config_from: the file that the configuration comes from, or another origin.
        towers: "text" and "vision", each with its main fields.
        projection_dim: the width of the joint space; None for a model without projection.
        parameters: the number of parameter values.
        dtypes: the number of values of each dtype.
        preprocessing: the settings of the preprocessing; None if they are unknown.
        sha256: the hash of the weights as defined by `scan_weights`; None if they were not read.
        warnings: an explanation of each trap found, by its name in `TRAPS`.
    """

    source: str
    format: str
    formats: list[str]
    layout: str
    files: dict[str, int]
    class_name: str
    config_from: str
    towers: dict[str, dict[str, Any]]
    projection_dim: int | None
    parameters: int
    dtypes: dict[str, int]
    preprocessing: dict[str, Any] | None
    sha256: str | None = None
    warnings: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON."""
        return asdict(self)


def inspect(source: str | os.PathLike[str], *, values: bool = True, **options: Unpack[HubOptions]) -> Inspection:
    """Inspect a checkpoint.

    Args:
        source: a folder, file or hub id, in any format.
        values: also read the weights, to hash them, find NaN and infinity, and compare several formats in one folder.
            False reads only headers and configurations.
        **options: hub options; see `clip_core.hub.HubOptions`.

    Returns:
        The facts and the warnings.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: the checkpoint is damaged, or not CLIP; the message names its family.
    """
    checkpoint = open_checkpoint(source, **options)
    description = describe(checkpoint, source, **options)
    facts = _facts(source, checkpoint, description, **options)
    result = _inspection(source, facts)
    if values:
        read = scan_weights(checkpoint)
        result.sha256, facts.not_finite = read.sha256, read.not_finite
        if "logit_scale" in checkpoint:
            facts.logit_scale = float(checkpoint["logit_scale"])
        facts.disagreeing = _disagreeing(source, checkpoint, facts.formats, **options)
    said = {trap.name: trap.check(facts) for trap in TRAPS}
    result.warnings = {name: text for name, text in said.items() if text}
    return result


@dataclass
class WeightScan:
    """The result of reading all values.

    Attributes:
        sha256: the hash of the weights, in hexadecimal.
        not_finite: the number of NaN and infinite values by tensor, if there are any.
    """

    sha256: str = ""
    not_finite: dict[str, int] = field(default_factory=dict)


def scan_weights(checkpoint: Checkpoint) -> WeightScan:
    """Read every tensor once, one at a time, and return a hash that is the same in every format.

    The hash is the SHA-256 of all parameters in the order of their canonical names. Each parameter contributes its name
    in UTF-8, a zero byte, the dtype's name, a zero byte, the shape in decimal separated by commas, a zero byte, and the
    values as little-endian bytes with the last axis fastest.
    """
    found, digest = WeightScan(), hashlib.sha256()
    with progress(sum(entry.nbytes for entry in checkpoint.entries.values()), "Hashing") as advance:
        for name in sorted(checkpoint):
            array = in_order(checkpoint[name])
            digest.update(f"{name}\0{array.dtype.name}\0{','.join(map(str, array.shape))}\0".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
            count = array.size - int(np.isfinite(array).sum())
            if count:
                found.not_finite[name] = count
            advance(array.nbytes)
    found.sha256 = digest.hexdigest()
    return found


def _facts(
    source: str | os.PathLike[str], checkpoint: Checkpoint, description: Description, **options: Unpack[HubOptions]
) -> Facts:
    folder, rest = beside(source, options)
    content = read_config(folder, **rest) if description.origin == CONFIG_NAME else {}
    misfit = None
    try:
        check_fit(checkpoint, description.config, description.class_name, advice="")
    except CheckpointError as error:
        misfit = str(error)
    # A file given by name has no alternative formats.
    formats = [format_.name for format_ in formats_in(folder, **rest)] if folder == source else []
    return Facts(
        source=str(source),
        checkpoint=checkpoint,
        description=description,
        content=content,
        formats=formats,
        tokenizer=tokenizer_facts(folder, **rest),
        misfit=misfit,
    )


def _inspection(source: str | os.PathLike[str], facts: Facts) -> Inspection:
    checkpoint, description = facts.checkpoint, facts.description
    dtypes: Counter[str] = Counter()
    for entry in checkpoint.entries.values():
        dtypes[entry.dtype.name] += math.prod(entry.shape)
    has_projection = any(name.endswith("_projection.weight") for name in checkpoint)
    steps = description.preprocessing
    return Inspection(
        source=str(source),
        format=checkpoint.format.name if checkpoint.format else "",
        formats=facts.formats,
        layout=checkpoint.layout.name,
        files={path.name: path.stat().st_size for path in checkpoint.files},
        class_name=description.class_name,
        config_from=description.origin,
        towers={name: _tower(config) for name, config in facts.towers.items()},
        projection_dim=description.config.projection_dim if has_projection else None,
        parameters=sum(dtypes.values()),
        dtypes=dict(dtypes),
        preprocessing=None if steps is None else {name: getattr(steps, name) for name in ARGUMENTS},
    )


def _tower(config: Any) -> dict[str, Any]:
    fields = {name: getattr(config, ours) for ours, name in _TOWER_FIELDS.items() if hasattr(config, ours)}
    if config.base_config_key == "vision_config":
        fields = {name: value for name, value in fields.items() if name not in {"eos", "pad", "bos"}}
    return {**fields, "head width": config.hidden_size // config.num_attention_heads}


def _disagreeing(
    source: str | os.PathLike[str], taken: Checkpoint, formats: list[str], **options: Unpack[HubOptions]
) -> dict[str, str]:
    """Return the differences, if any, between `taken` and each other format in the folder."""
    found = {}
    for name in formats:
        if taken.format is not None and name == taken.format.name:
            continue
        try:
            difference = compare_tensors(taken, open_checkpoint(source, format=name, **options))
        except ValueError as error:
            found[name] = str(error)
            continue
        if difference:
            first = next(iter([*difference.only_in_a, *difference.only_in_b, *difference.shapes, *difference.values]))
            count = sum(map(len, (difference.only_in_a, difference.only_in_b, difference.shapes, difference.values)))
            found[name] = f"different in {counted(count, 'tensor')}, such as {first}"
    return found
