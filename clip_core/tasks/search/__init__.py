"""Image search: an index of a folder's images, searched by text and by image.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from clip_core.tasks.search.duplicates import DuplicateGroup
    from clip_core.tasks.search.identity import OtherModelError
    from clip_core.tasks.search.index import ImageIndex
    from clip_core.tasks.search.queries import Hit
    from clip_core.tasks.search.updating import IndexChanges

__all__ = ["DuplicateGroup", "Hit", "ImageIndex", "IndexChanges", "OtherModelError"]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "DuplicateGroup": "duplicates",
        "Hit": "queries",
        "ImageIndex": "index",
        "IndexChanges": "updating",
        "OtherModelError": "identity",
    },
)
