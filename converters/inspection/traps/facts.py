"""The facts that the checks of a checkpoint use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig

if TYPE_CHECKING:
    from converters.checkpoint import Checkpoint
    from converters.inspection.tokenizer_facts import TokenizerFacts
    from converters.sidecars.companions import Description


@dataclass
class Facts:
    """The facts that the checks use.

    Attributes:
        source: the checkpoint.
        checkpoint: the weights.
        description: the configuration and the preprocessing.
        content: the content of config.json; empty if the configuration comes from elsewhere.
        formats: all formats of weights in the folder.
        tokenizer: the facts in the tokenizer's files.
        misfit: the reason why the weights do not fit the configuration; None if they fit.
        not_finite: the number of NaN and infinite values by tensor.
        logit_scale: the value of the parameter `logit_scale`.
        disagreeing: how the weights of each other format in the folder differ from those in use.
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
        """The configurations of the model's towers, under "text" and "vision"."""
        config = self.description.config
        found = {
            "text": config if isinstance(config, CLIPTextConfig) else getattr(config, "text_config", None),
            "vision": config if isinstance(config, CLIPVisionConfig) else getattr(config, "vision_config", None),
        }
        if self.description.class_name == "CLIPForImageClassification":
            del found["text"]
        return {name: tower for name, tower in found.items() if tower is not None}

    def stated(self, tower: str, name: str) -> Any:
        """Return a tower's field in config.json; None if it is not stated."""
        if f"{tower}_config" not in self.content and f"{tower}_config_dict" not in self.content:
            return None if self.content.get("model_type") == "clip" else self.content.get(name)
        old = self.content.get(f"{tower}_config_dict") or {}
        return old.get(name, (self.content.get(f"{tower}_config") or {}).get(name))
