"""CLIPConfig, CLIPTextConfig and CLIPVisionConfig: fields, validation, reading and writing."""

from __future__ import annotations

from clip_core.configuration.clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

__all__ = ["CLIPConfig", "CLIPTextConfig", "CLIPVisionConfig"]
