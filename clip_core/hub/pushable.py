"""Hub uploads of anything with `save_pretrained`: configurations, tokenizers, processors and models."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub.repository import upload_folder

if TYPE_CHECKING:
    import os


def push(saveable: Any, repo_id: str, kwargs: dict[str, Any], **saving: Any) -> str:
    """Upload the output of `saveable.save_pretrained(folder, **saving)`, and return the commit's URL."""
    with tempfile.TemporaryDirectory() as folder:
        saveable.save_pretrained(folder, **saving)
        return upload_folder(folder, repo_id, **kwargs)


def push_to_hub(saveable: Any, repo_id: str, **kwargs: Any) -> str:
    """Upload the output of `save_pretrained` to a hub repository.

    Args:
        saveable: an object with `save_pretrained(folder)`.
        repo_id: the repository, such as "user/my-clip"; created if missing.
        **kwargs: the keywords of `clip_core.hub.upload_folder`.

    Returns:
        The URL of the commit.
    """
    return push(saveable, repo_id, kwargs)


class Pushable:
    """A mixin that adds `push_to_hub` to classes with `save_pretrained(folder)`."""

    push_to_hub = push_to_hub

    def _push(self, repo_id: str, kwargs: dict[str, Any], **saving: Any) -> str:
        """Upload the output of `save_pretrained`, called with the keywords `saving`."""
        return push(self, repo_id, kwargs, **saving)


def upload_saved(folder: str | os.PathLike[str], *, repo_id: str | None = None, **kwargs: Any) -> str:
    """Upload a saved folder, and return the commit's URL.

    Args:
        folder: the folder.
        repo_id: the repository; by default the folder's name.
        **kwargs: the keywords of `clip_core.hub.upload_folder`.
    """
    return upload_folder(folder, repo_id or Path(folder).name, **kwargs)
