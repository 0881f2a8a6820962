"""The differences between two checkpoints of any formats: names, shapes, dtypes, values, configuration."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from clip_core.configuration import CLIPTextConfig
from clip_core.images.settings import ARGUMENTS
from converters.checkpoint import open_checkpoint
from converters.inspection.values import Change, change_between
from converters.progress import progress
from converters.sidecars.description import describe
from converters.sidecars.open_clip import TANH_GELU
from converters.sidecars.openai import LARGEST_ID, pools_at_largest_id

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from clip_core.hub import HubOptions
    from clip_core.modeling.parameters import AnyConfig
    from converters.checkpoint import Checkpoint

# The fields of a configuration that affect the computation.
_FIELDS = (
    "attention_dropout",
    "eos_token_id",
    "hidden_act",
    "hidden_size",
    "image_size",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "missing_eos",
    "num_attention_heads",
    "num_channels",
    "num_hidden_layers",
    "patch_size",
    "projection_dim",
    "pruned_heads",
    "vocab_size",
)


@dataclass
class Difference:
    """The differences between two checkpoints.

    Attributes:
        only_in_a: the names that the second checkpoint lacks.
        only_in_b: the names that the first checkpoint lacks.
        shapes: both shapes of each tensor whose shapes differ; the values of such tensors are not compared.
        dtypes: both dtypes of each tensor whose dtypes differ.
        values: the changes of each tensor whose values differ.
        config: both values of each field of configuration or preprocessing that affects the computation and differs.
        identical: the number of tensors with the same values.
    """

    only_in_a: list[str] = field(default_factory=list)
    only_in_b: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    dtypes: dict[str, tuple[str, str]] = field(default_factory=dict)
    values: dict[str, Change] = field(default_factory=dict)
    config: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    identical: int = 0

    @property
    def largest(self) -> str | None:
        """Name of the tensor with the largest absolute difference."""
        return max(self.values, key=lambda name: self.values[name].absolute, default=None)

    def __bool__(self) -> bool:
        """Return True if anything except a dtype differs."""
        return bool(self.only_in_a or self.only_in_b or self.shapes or self.values or self.config)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON."""
        return {**asdict(self), "largest": self.largest, "same": not self}


def diff(a: str | os.PathLike[str], b: str | os.PathLike[str], **options: Unpack[HubOptions]) -> Difference:
    """Compare two checkpoints, one tensor at a time.

    Args:
        a: a folder, file or hub id, in any format.
        b: another checkpoint.
        **options: hub options; see `clip_core.hub.HubOptions`.

    Returns:
        The differences; falsy if there are none.

    Raises:
        ValueError: a checkpoint is damaged, or not CLIP.
    """
    checkpoints = [open_checkpoint(source, **options) for source in (a, b)]
    stated = [_stated(checkpoint, source, options) for checkpoint, source in zip(checkpoints, (a, b), strict=True)]
    difference = compare_tensors(*checkpoints)
    common = sorted(stated[0].keys() & stated[1].keys())
    difference.config = {
        name: (stated[0][name], stated[1][name]) for name in common if stated[0][name] != stated[1][name]
    }
    return difference


def compare_tensors(a: Checkpoint, b: Checkpoint) -> Difference:
    """Compare the tensors of two checkpoints."""
    difference = Difference([name for name in a if name not in b], [name for name in b if name not in a])
    common = [name for name in a if name in b]
    with progress(sum(a.entries[name].nbytes for name in common), "Comparing") as advance:
        for name in common:
            _compare_tensor(name, a, b, difference)
            advance(a.entries[name].nbytes)
    return difference


def _compare_tensor(name: str, a: Checkpoint, b: Checkpoint, difference: Difference) -> None:
    if a.dtype(name) != b.dtype(name):
        difference.dtypes[name] = (a.dtype(name).name, b.dtype(name).name)
    if a.shape(name) != b.shape(name):
        difference.shapes[name] = (a.shape(name), b.shape(name))
        return
    change = change_between(a[name], b[name])
    if change.count:
        difference.values[name] = change
    else:
        difference.identical += 1


def _stated(checkpoint: Checkpoint, source: str | os.PathLike[str], options: HubOptions) -> dict[str, Any]:
    """Return the fields of configuration and preprocessing that affect the computation."""
    try:
        description = describe(checkpoint, source, **options)
    except FileNotFoundError:
        return {}  # only the weights can be compared
    steps = description.preprocessing
    of_images = {} if steps is None else {f"preprocessing.{name}": getattr(steps, name) for name in ARGUMENTS}
    return {**computing_fields(description.config), **of_images}


def computing_fields(config: AnyConfig) -> dict[str, Any]:
    """Return the fields of a configuration that affect the computation, by name."""
    fields = {name: getattr(config, name) for name in _FIELDS if hasattr(config, name)}
    if isinstance(config, CLIPTextConfig) and pools_at_largest_id(config):
        fields["eos_token_id"] = LARGEST_ID  # the legacy value and the largest id are equivalent
    if fields.get("hidden_act") in TANH_GELU:
        fields["hidden_act"] = TANH_GELU[0]
    for key in config.sub_configs:
        tower = computing_fields(getattr(config, key))
        tower.pop("projection_dim")  # in a full model, the top level's value applies
        fields |= {f"{key}.{name}": value for name, value in tower.items()}
    return fields
