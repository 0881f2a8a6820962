"""CLIPConfig, CLIPTextConfig and CLIPVisionConfig: fields, validation, reading and writing.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from clip_core.configuration.clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

__all__ = ["CLIPConfig", "CLIPTextConfig", "CLIPVisionConfig"]
