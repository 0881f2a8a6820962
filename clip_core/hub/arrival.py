"""Checks of downloads from the hub: names that become paths in the cache, and announced sizes and hashes.

huggingface_hub (0.36.2 and 2.4.0, for example) joins a file's ETag, and a missing file's commit, to paths of its cache
unchecked, and never compares a file with the hash in its ETag; see "Upstream" in docs/trust.md.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from clip_core.hub.patience import patiently
from clip_core.hub.printing import shortened
from clip_core.hub.targets import expanded

if TYPE_CHECKING:
    from collections.abc import Callable


class ArrivalError(OSError):
    """An error about a file from the hub that is not what the hub announced; it is not in the cache."""


@dataclass
class _Announced:
    """The hub's announcement of a file.

    Attributes:
        etag: the name of the file in the cache: its sha256 if it is large, otherwise usually Git's hash.
        size: in bytes.
        is_new: True if the cache does not have the file yet.
    """

    etag: str
    size: int | None
    is_new: bool


# The cache's folder of files, and the announcements of the download that runs in this thread.
_download: ContextVar[tuple[Path, list[_Announced]] | None] = ContextVar("download", default=None)
_installing = Lock()

# Characters of an ETag or commit that becomes the name of a file; it must not be dots alone.
_FILE_NAME = re.compile(r"(?!\.+$)[\w.+=-]{1,200}")
_CHUNK = 2**20


def download(repo_id: str, name: str, **options: Any) -> Path:
    """Download a file to the cache, or find it there, and check the download before it can be used.

    Args:
        repo_id: the repository.
        name: the file's name in it.
        **options: as in `huggingface_hub.hf_hub_download`.

    Raises:
        ArrivalError: the file is not what the hub announced, or an announced name is not a file name.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.file_download import repo_folder_name

    _install()
    cache = expanded(options.get("cache_dir") or constants.HF_HUB_CACHE)
    announced: list[_Announced] = []
    token = _download.set((cache / repo_folder_name(repo_id=repo_id, repo_type="model") / "blobs", announced))
    try:
        path = Path(patiently(lambda: hf_hub_download(repo_id, name, **options)))
    finally:
        _download.reset(token)
    for announcement in announced[-1:]:
        fault = _fault(path, announcement, always=bool(options.get("force_download")))
        if fault:
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise ArrivalError(
                f"{name} of {repo_id!r} is not what the hub announced: {fault}. It was deleted; try again, and if that "
                "does not help, check the network's proxy"
            )
    return path


def _fault(path: Path, announced: _Announced, *, always: bool) -> str:
    """Return a mismatch between a file and its announcement; empty if they agree."""
    size = path.stat().st_size
    if announced.size is not None and size != announced.size:
        return f"it has {size} bytes instead of {announced.size}"
    if not (announced.is_new or always):
        return ""
    if re.fullmatch(r"[0-9a-f]{64}", announced.etag):
        found = [_hash(path, hashlib.sha256())]
    elif re.fullmatch(r"[0-9a-f]{40}", announced.etag):  # Git's hash on the hub, a plain one on some mirrors
        start = f"blob {size}\0".encode()
        found = [_hash(path, hashlib.sha1(head, usedforsecurity=False)) for head in (start, b"")]
    else:
        return ""
    return "" if announced.etag in found else f"its hash is {found[0]} instead of {announced.etag}"


def _hash(path: Path, digest: Any) -> str:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return str(digest.hexdigest())


def _install() -> None:
    """Let huggingface_hub's request for a file's announcement pass through `_checked`. Other callers see no change."""
    from huggingface_hub import file_download

    with _installing:
        request = file_download.get_hf_file_metadata
        if not hasattr(request, "checks_announcements"):
            file_download.get_hf_file_metadata = _checked(request)


def _checked(request: Callable[..., Any]) -> Callable[..., Any]:
    from huggingface_hub.errors import EntryNotFoundError

    def checked(*args: Any, **kwargs: Any) -> Any:
        running = _download.get()
        if running is None:
            return request(*args, **kwargs)
        try:
            metadata = request(*args, **kwargs)
        except EntryNotFoundError as error:  # huggingface_hub notes the missing file in a folder named by the commit
            _check_file_names(error.response.headers.get("X-Repo-Commit") if error.response is not None else None)
            raise
        _check_file_names(metadata.etag, metadata.commit_hash)
        folder, announced = running
        if metadata.etag is not None:
            is_new = not os.path.lexists(folder / metadata.etag)
            announced.append(_Announced(metadata.etag, metadata.size, is_new))
        return metadata

    checked.checks_announcements = True  # type: ignore[attr-defined]
    return checked


def _check_file_names(*names: str | None) -> None:
    for name in names:
        if name is not None and not _FILE_NAME.fullmatch(name):
            raise ArrivalError(f"the hub sent {shortened(repr(name))} as an ETag or commit, which is not a file name")
