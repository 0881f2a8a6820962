"""What makes a checkpoint give other numbers than expected, or fail elsewhere: a table of checks, one row each.

To warn of another trap, write a function that takes `Facts` and returns a sentence or None, and add its row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig
from converters import traps_of_models, traps_of_pictures, traps_of_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from converters.checkpoint import Checkpoint
    from converters.description import Description
    from converters.tokenizer_facts import TokenizerFacts


@dataclass
class Facts:
    """What the checks look at.

    Attributes:
        source: where the checkpoint is.
        checkpoint: the weights.
        description: the configuration and the preprocessing.
        content: config.json as it stands; empty where the configuration is from elsewhere.
        formats: the formats that the folder holds weights in.
        tokenizer: what the tokenizer's files say.
        misfit: why the weights do not fit the configuration, where they do not.
        not_finite: name to count of infinite and not-a-number values.
        logit_scale: its value.
        disagreeing: format to how its weights differ from those taken.
    """

    source: str
    checkpoint: Checkpoint
    description: Description
    content: dict[str, Any]
    formats: list[str]
    tokenizer: TokenizerFacts | None = None
    misfit: str | None = None
    not_finite: dict[str, int] = field(default_factory=dict)
    logit_scale: float | None = None
    disagreeing: dict[str, str] = field(default_factory=dict)

    @property
    def towers(self) -> dict[str, Any]:
        """The configurations of the towers that the model has, by "text" and "vision"."""
        config = self.description.config
        found = {
            "text": config if isinstance(config, CLIPTextConfig) else getattr(config, "text_config", None),
            "vision": config if isinstance(config, CLIPVisionConfig) else getattr(config, "vision_config", None),
        }
        if self.description.class_name == "CLIPForImageClassification":
            del found["text"]
        return {name: tower for name, tower in found.items() if tower is not None}

    def stated(self, tower: str, name: str) -> Any:
        """A field of a tower as config.json states it, and None where it does not."""
        if f"{tower}_config" not in self.content and f"{tower}_config_dict" not in self.content:
            return None if self.content.get("model_type") == "clip" else self.content.get(name)
        old = self.content.get(f"{tower}_config_dict") or {}
        return old.get(name, (self.content.get(f"{tower}_config") or {}).get(name))


class Trap(NamedTuple):
    """A check, and the name of what it looks for."""

    name: str
    check: Callable[[Facts], str | None]


TRAPS = (
    Trap("does not fit", traps_of_weights.misfit),
    Trap("several formats", traps_of_weights.several_formats),
    Trap("configuration assumed", traps_of_weights.assumed_config),
    Trap("legacy eos", traps_of_models.legacy_eos),
    Trap("eos of the tokenizer", traps_of_models.other_eos),
    Trap("pad 0", traps_of_models.pad),
    Trap("activation unstated", traps_of_models.activation_unstated),
    Trap("activations differ", traps_of_models.activations_differ),
    Trap("activation doubtful", traps_of_models.activation_doubtful),
    Trap("head width", traps_of_models.head_width),
    Trap("layer norm epsilon", traps_of_models.epsilon),
    Trap("projection", traps_of_models.projection),
    Trap("legacy config dicts", traps_of_models.legacy_dicts),
    Trap("position ids", traps_of_weights.constants),
    Trap("no format metadata", traps_of_weights.metadata),
    Trap("other names", traps_of_weights.other_names),
    Trap("vocabulary", traps_of_models.vocabulary),
    Trap("positions", traps_of_models.positions),
    Trap("text length", traps_of_models.max_length),
    Trap("no preprocessor", traps_of_pictures.no_preprocessor),
    Trap("picture size", traps_of_pictures.picture_size),
    Trap("normalization", traps_of_pictures.normalization),
    Trap("squash", traps_of_pictures.squash),
    Trap("not finite", traps_of_weights.not_finite),
    Trap("logit scale", traps_of_weights.logit_scale),
    Trap("several dtypes", traps_of_weights.dtypes),
    Trap("half precision", traps_of_weights.half),
)
