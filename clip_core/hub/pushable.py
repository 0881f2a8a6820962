"""Hub uploads of anything with `save_pretrained`: configurations, tokenizers, processors and models."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub.repository import upload_folder

if TYPE_CHECKING:
    import os


class Pushable:
    """A mixin that adds `push_to_hub` to classes with `save_pretrained(folder)`."""

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload the output of `save_pretrained` to a hub repository, and return the commit's URL.

        Args:
            repo_id: the repository, such as "user/my-clip"; created if missing.
            **kwargs: the keywords of `clip_core.hub.upload_folder`.
        """
        return self._push(repo_id, kwargs)

    def _push(self, repo_id: str, kwargs: dict[str, Any], **saving: Any) -> str:
        """Upload the output of `save_pretrained` with these keywords."""
        return push(self, repo_id, kwargs, **saving)


def push(saveable: Any, repo_id: str, kwargs: dict[str, Any], **saving: Any) -> str:
    """Upload what `saveable.save_pretrained(folder, **saving)` writes, and return the commit's address."""
    with tempfile.TemporaryDirectory() as folder:
        saveable.save_pretrained(folder, **saving)
        return upload_folder(folder, repo_id, **kwargs)


def upload_saved(folder: str | os.PathLike[str], *, repo_id: str | None = None, **kwargs: Any) -> str:
    """Upload a saved folder, and return the commit's URL.

    Args:
        folder: the folder.
        repo_id: the repository; by default the folder's name.
        **kwargs: the keywords of `clip_core.hub.upload_folder`.
    """
    return upload_folder(folder, repo_id or Path(folder).name, **kwargs)
