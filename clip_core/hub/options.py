"""The keywords that say where on the Hugging Face hub a file is, and how to look for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import os


class HubOptions(TypedDict, total=False):
    """Where on the hub, and how, to look for a file. For a local source only `subfolder` counts.

    Attributes:
        revision: a branch, a tag or a commit; `main` by default.
        subfolder: a folder inside the repository or the local folder.
        cache_dir: where downloads are kept; by default where `HF_HOME` says.
        token: for private repositories; True or None for the one that `hf auth login` stored, False for none.
        local_files_only: look in the cache alone, as `HF_HUB_OFFLINE=1` does for the whole process.
        force_download: download again what is in the cache.
    """

    revision: str | None
    subfolder: str | None
    cache_dir: str | os.PathLike[str] | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool


# Keywords that code written for transformers passes, and that mean nothing any more.
_OBSOLETE = frozenset(
    {
        "_commit_hash",
        "_fast_init",
        "_from_auto",
        "_from_pipeline",
        "from_flax",
        "from_pt",
        "from_tf",
        "low_cpu_mem_usage",
        "mirror",
        "proxies",
        "resume_download",
        "trust_remote_code",
        "weights_only",
    }
)


def split_hub_options(kwargs: dict[str, Any]) -> HubOptions:
    """Take the hub's keywords out of `kwargs`, in place; transformers' obsolete ones are taken out and dropped.

    Raises:
        ValueError: both `token` and its old name `use_auth_token` are given, and differ.
    """
    for name in _OBSOLETE & kwargs.keys():
        del kwargs[name]
    old_token = kwargs.pop("use_auth_token", None)
    if old_token is not None:
        if kwargs.get("token") not in {None, old_token}:
            raise ValueError("token and its old name use_auth_token are both given; pass token alone")
        kwargs["token"] = old_token
    options = HubOptions()
    for name in HubOptions.__annotations__.keys() & kwargs.keys():
        options[name] = kwargs.pop(name)  # type: ignore[literal-required]
    return options
