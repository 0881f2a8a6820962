"""Loading by `from_pretrained`, with the same arguments for configurations, image processors and processors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.hub.options import split_hub_options

if TYPE_CHECKING:
    import os

    from clip_core.hub.options import HubOptions


def from_pretrained(
    cls: type[Any],
    /,
    pretrained_model_name_or_path: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
    revision: str | None = "main",
    **kwargs: Any,
) -> Any:
    """Load from a local folder, a file, or a repository on the hub.

    Args:
        cls: the class to create an instance of.
        pretrained_model_name_or_path: a local folder, the file itself, or a hub id. A processor has several files, so
            it accepts no single file.
        cache_dir: see `clip_core.hub.HubOptions`, like the options below.
        force_download: download again even if cached.
        local_files_only: do not contact the hub.
        token: for private repositories.
        revision: a branch, tag or commit.
        **kwargs: `subfolder`, and values that override those of the file. With `return_unused_kwargs=True`,
            configurations and image processors return a pair with the keywords that are not theirs. With
            `use_fast=False`, processors use a `CLIPTokenizer`.

    Returns:
        An instance of the class.

    Raises:
        FileNotFoundError: if there is no such file, folder or repository.
        ValueError: if the file is damaged, has an invalid value, or describes another kind of model.
    """
    kwargs |= {"cache_dir": cache_dir, "force_download": force_download, "local_files_only": local_files_only}
    kwargs |= {"token": token, "revision": revision}
    return cls._read(pretrained_model_name_or_path, split_hub_options(kwargs), kwargs)


class Readable:
    """A mixin that adds `from_pretrained` to classes with a method `_read`."""

    from_pretrained = classmethod(from_pretrained)

    @classmethod
    def _read(cls, source: str | os.PathLike[str], options: HubOptions, keywords: dict[str, Any]) -> Any:
        """Load an instance from a source, given the hub options and the remaining keywords of `from_pretrained`."""
        raise NotImplementedError
