"""What the checks of a checkpoint look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

if TYPE_CHECKING:
    from converters.checkpoint import Checkpoint
    from converters.inspection.tokenizer_facts import TokenizerFacts
    from converters.sidecars.description import Description


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
