"""An HTTP server for a CLIP model: embeddings as OpenAI's clients request them, and zero-shot classification.

The names in `__all__` are public; the modules are internal. Importing them needs `pip install 'clip-zoo[serve]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.tasks.serving.app import create_app
    from clip_core.tasks.serving.settings import ServerSettings

__all__ = ["ServerSettings", "create_app"]

__getattr__, __dir__ = names_on_demand(__name__, {"ServerSettings": "settings", "create_app": "app"})
