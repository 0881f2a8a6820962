"""Hub uploads of anything with `save_pretrained`: configurations, tokenizers, processors and models."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub.files import scratch_folder
from clip_core.hub.options import adopt_old_token
from clip_core.hub.repository import upload_folder

if TYPE_CHECKING:
    import os

# Keywords of uploads in transformers that request a feature unless they are empty -> how to get it here.
_REFUSED = {
    "organization": 'pass repo_id="organization/name"',
    "repo_name": "pass repo_id",
    "repo_path_or_name": "pass repo_id",
    "repo_url": "pass repo_id",
    "tags": "write them into the README.md of the repository",
}
_OF_UPLOAD = frozenset(inspect.signature(upload_folder).parameters) - {"folder", "repo_id"}


def push(saveable: Any, repo_id: str, kwargs: dict[str, Any], **saving: Any) -> str:
    """Upload the output of `saveable.save_pretrained(folder, **saving)`, and return the commit's URL."""
    if kwargs.pop("use_temp_dir", None) is False:
        raise TypeError(
            "push_to_hub does not take use_temp_dir=False; save_pretrained(folder, push_to_hub=True) keeps the folder"
        )
    options = _checked(kwargs, "push_to_hub")
    with scratch_folder("clip-zoo-upload-") as folder:
        saveable.save_pretrained(folder, **saving)
        return upload_folder(folder, repo_id, **options)


def push_to_hub(saveable: Any, repo_id: str, **kwargs: Any) -> str:
    """Upload the output of `save_pretrained` to a hub repository.

    Args:
        saveable: an object with `save_pretrained(folder)`.
        repo_id: the repository, such as "user/my-clip"; created if missing.
        **kwargs: the keywords of `clip_core.hub.upload_folder`. Those of transformers for weights are accepted and
            ignored.

    Returns:
        The URL of the commit.
    """
    for name in ("max_shard_size", "safe_serialization"):
        kwargs.pop(name, None)
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
    return upload_folder(folder, repo_id or Path(folder).name, **_checked(kwargs, "save_pretrained"))


def _checked(kwargs: dict[str, Any], method: str) -> dict[str, Any]:
    """Return the keywords of an upload, without those of transformers that request nothing.

    Raises:
        TypeError: one requests something else, or is unknown.
    """
    adopt_old_token(kwargs)
    for name, instead in _REFUSED.items():
        if kwargs.get(name):
            raise TypeError(f"{method} does not take {name}={kwargs[name]!r}; {instead}")
    options = {name: value for name, value in kwargs.items() if name not in _REFUSED}
    if unknown := sorted(options.keys() - _OF_UPLOAD):
        raise TypeError(f"{method} does not take {', '.join(unknown)}")
    return options
