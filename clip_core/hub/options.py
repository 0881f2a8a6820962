"""Hub options: the keywords that locate a file on the Hugging Face hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import os


class HubOptions(TypedDict, total=False):
    """The options for locating a file on the hub. For a local source only `subfolder` counts.

    Attributes:
        revision: a branch, tag or commit; `main` by default.
        subfolder: a folder inside the repository or the local folder.
        cache_dir: the download cache; by default under `HF_HOME`.
        token: for private repositories; True or None for the one stored by `hf auth login`, False for none.
        local_files_only: use only the cache, as `HF_HUB_OFFLINE=1` does for the whole process.
        force_download: download again even if cached.
    """

    revision: str | None
    subfolder: str | None
    cache_dir: str | os.PathLike[str] | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool


# Keywords passed by code written for transformers that no longer have a meaning.
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
    """Remove the hub options from `kwargs` in place and return them; obsolete keywords of transformers are dropped.

    Args:
        kwargs: the keywords of a call.

    Returns:
        The hub options.

    Raises:
        ValueError: if both `token` and its old name `use_auth_token` are given, and differ.
    """
    for name in _OBSOLETE & kwargs.keys():
        del kwargs[name]
    old_token = kwargs.pop("use_auth_token", None)
    if old_token is not None:
        if kwargs.get("token") not in {None, old_token}:
            raise ValueError("token and its old name use_auth_token are both given; pass only token")
        kwargs["token"] = old_token
    options = HubOptions()
    for name in HubOptions.__annotations__.keys() & kwargs.keys():
        options[name] = kwargs.pop(name)  # type: ignore[literal-required]
    return options
