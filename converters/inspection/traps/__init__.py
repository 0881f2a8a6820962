"""The table of checks for checkpoints that give unexpected results, or fail in other code. Internal.

To add a trap, write a function that takes `Facts` and returns a sentence or None, and add its row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from converters.inspection.traps import images, models, weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from converters.inspection.traps.facts import Facts


class Trap(NamedTuple):
    """A check and its name."""

    name: str
    check: Callable[[Facts], str | None]


TRAPS = (
    Trap("does not fit", weights.misfit),
    Trap("several formats", weights.several_formats),
    Trap("configuration assumed", weights.assumed_config),
    Trap("legacy eos", models.legacy_eos),
    Trap("eos of the tokenizer", models.other_eos),
    Trap("pad 0", models.pad_zero),
    Trap("activation unstated", models.activation_unstated),
    Trap("activations differ", models.activations_differ),
    Trap("activation doubtful", models.activation_doubtful),
    Trap("head width", models.head_width),
    Trap("layer norm epsilon", models.epsilon),
    Trap("projection", models.projection_size),
    Trap("legacy config dicts", models.legacy_dicts),
    Trap("position ids", weights.constants),
    Trap("no format metadata", weights.no_metadata),
    Trap("other names", weights.other_names),
    Trap("vocabulary", models.vocabulary),
    Trap("positions", models.unusual_length),
    Trap("text length", models.max_length),
    Trap("no preprocessor", images.no_preprocessor),
    Trap("image size", images.image_size),
    Trap("normalization", images.normalization),
    Trap("squash", images.squash),
    Trap("not finite", weights.not_finite),
    Trap("logit scale", weights.logit_scale),
    Trap("several dtypes", weights.dtypes),
    Trap("half precision", weights.half),
)
