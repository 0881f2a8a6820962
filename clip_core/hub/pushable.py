"""Uploading what can be saved: alike for configurations, tokenizers, processors and models."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub.repository import upload_folder

if TYPE_CHECKING:
    import os


class Pushable:
    """A mixin for classes with `save_pretrained(folder)`, which adds `push_to_hub`."""

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload what `save_pretrained` writes to a repository on the hub, and return the commit's address.

        Args:
            repo_id: the repository, such as "user/my-clip"; made where it is missing.
            **kwargs: the keywords of `clip_core.hub.upload_folder`.
        """
        return self._push(repo_id, kwargs)

    def _push(self, repo_id: str, kwargs: dict[str, Any], **saving: Any) -> str:
        """Upload what `save_pretrained` writes when it is given these keywords."""
        return push(self, repo_id, kwargs, **saving)


def push(saveable: Any, repo_id: str, kwargs: dict[str, Any], **saving: Any) -> str:
    """Upload what `saveable.save_pretrained(folder, **saving)` writes, and return the commit's address."""
    with tempfile.TemporaryDirectory() as folder:
        saveable.save_pretrained(folder, **saving)
        return upload_folder(folder, repo_id, **kwargs)


def upload_saved(folder: str | os.PathLike[str], *, repo_id: str | None = None, **kwargs: Any) -> str:
    """Upload a folder that was saved, by default to a repository of its name, and return the commit's address."""
    return upload_folder(folder, repo_id or Path(folder).name, **kwargs)
