"""Where a model's files come from and go to: a local folder, a local file, or a repository on the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, TypedDict

from clip_core.hub_repository import files_in_repository, first_in_repository, upload_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack


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


__all__ = [
    "HubOptions",
    "check_file_name",
    "find_file",
    "list_files",
    "require_file",
    "split_hub_options",
    "upload_folder",
]

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
_SHOWN_FILES = 12


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


def find_file(source: str | os.PathLike[str], names: str | Sequence[str], **options: Unpack[HubOptions]) -> Path | None:
    """The first of `names` that the source holds, downloaded where it has to be; None where it holds none.

    Args:
        source: a local folder, a local file, or a hub id such as "openai/clip-vit-base-patch32". A local file is what
            it is called, and what it is given for where one name of its kind (`.json`) is asked; for any other
            name its folder is searched.
        names: file names, relative to the source and its subfolder, in order of preference.
        **options: see `HubOptions`.

    Raises:
        FileNotFoundError: there is no such folder, repository or revision, or the hub cannot be asked.
        ValueError: a name or the subfolder leads out of the source, or the source cannot be a hub id.
    """
    return _search(source, _as_names(names), options)[0]


def require_file(source: str | os.PathLike[str], names: str | Sequence[str], **options: Unpack[HubOptions]) -> Path:
    """As `find_file`, for a file that has to be there.

    Raises:
        FileNotFoundError: as in `find_file`, or the source holds none of `names`; the message says what it does hold.
        ValueError: as in `find_file`.
    """
    names = _as_names(names)
    path, reason = _search(source, names, options)
    if path is not None:
        return path
    place = _place(source, options)
    if reason:
        raise FileNotFoundError(f"{_any_of(names)} of {place} is not in the local cache, and {reason}")
    raise FileNotFoundError(f"{place} holds no {_any_of(names)}{_what_is_there(source, options)}")


def list_files(source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> list[str]:
    """The names of all files of a source, relative to its subfolder, sorted; of a cached copy where offline.

    Raises:
        FileNotFoundError: as in `find_file`.
        ValueError: as in `find_file`.
    """
    subfolder = _subfolder(options)
    path = Path(source).expanduser()
    if path.is_file():
        path = path.parent
    if path.is_dir():
        folder = path / subfolder
        return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    prefix = f"{subfolder}/" if subfolder else ""
    names = files_in_repository(_hub_id(source), options)
    return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def check_file_name(name: str) -> str:
    """A file name that was read from a file, as it is, if it stays inside the folder that it is relative to.

    Raises:
        ValueError: the name is empty or absolute, or leads out of the folder.
    """
    as_path = PureWindowsPath(name)  # which knows both separators, and drives
    if not as_path.parts or as_path.anchor or ".." in as_path.parts or "\0" in name:
        raise ValueError(f"{name!r} is no file name inside a folder; give a relative one without '..'")
    return name


def _as_names(names: str | Sequence[str]) -> list[str]:
    return [check_file_name(name) for name in ([names] if isinstance(names, str) else names)]


def _any_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _subfolder(options: HubOptions) -> str:
    subfolder = options.get("subfolder") or ""
    return check_file_name(subfolder).strip("/") if subfolder else ""


def _search(source: str | os.PathLike[str], names: list[str], options: HubOptions) -> tuple[Path | None, str]:
    """The file, or None and, where the hub could not be asked for it, the reason."""
    subfolder = _subfolder(options)
    path = Path(source).expanduser()
    if path.is_file():
        given = path.name in names or (len(names) == 1 and path.suffix == Path(names[0]).suffix)
        return (path, "") if given else (_first_in(path.parent, names), "")
    if path.is_dir():
        folder = path / subfolder
        if not folder.is_dir():
            raise FileNotFoundError(f"{path} holds no folder {subfolder!r}")
        return _first_in(folder, names), ""
    return first_in_repository(_hub_id(source), names, {**options, "subfolder": subfolder or None})


def _first_in(folder: Path, names: list[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _hub_id(source: str | os.PathLike[str]) -> str:
    """The source as a hub id, where it can be one."""
    text = os.fspath(source)
    if not isinstance(source, str) or text.startswith((".", "~")) or Path(text).is_absolute() or text.count("/") > 1:
        raise FileNotFoundError(f"{text!r} does not exist; give a folder, a file, or a hub id such as 'user/model'")
    return text


def _place(source: str | os.PathLike[str], options: HubOptions) -> str:
    """The source in words, for messages."""
    path = Path(source).expanduser()
    where = str(path.parent if path.is_file() else source)
    subfolder, revision = _subfolder(options), options.get("revision")
    in_folder = f"{where}/{subfolder}" if subfolder and not path.is_file() else where
    at_revision = f" at revision {revision!r}" if revision not in {None, "main"} and not path.exists() else ""
    return in_folder + at_revision


def _what_is_there(source: str | os.PathLike[str], options: HubOptions) -> str:
    """The end of a message: what the source holds, as far as it is known."""
    try:
        names = list_files(source, **options)
    except OSError:
        return ""
    if not names:
        return "; it is empty"
    more = f" and {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
    return f"; it holds {', '.join(names[:_SHOWN_FILES])}{more}"
