"""Sources of model files: a local folder, a local file, or a repository on the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from clip_core.hub.printing import printable, shortened
from clip_core.hub.repository import files_in_repository, first_in_repository
from clip_core.hub.switching import settle
from clip_core.hub.targets import check_no_dangling_link, expanded, given_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from clip_core.hub.options import HubOptions


_SHOWN_FILES = 12
_INDEX = ".index.json"
_OF_A_MODEL = "config.json"  # a subfolder that has it is a model, which `subfolder` would load
_LONGEST_NAME = 255  # bytes of a file's name, on all common systems


def find_file(
    source: str | os.PathLike[str],
    names: str | Sequence[str],
    *,
    exact: bool = False,
    **options: Unpack[HubOptions],
) -> Path | None:
    """Return the path of the first of `names` in the source, downloading it if needed; None if the source has none.

    Args:
        source: a local folder, a local file, or a hub id such as "openai/clip-vit-base-patch32". A local file matches
            its own name, or a single requested name with the same extension (`.json`). Other names are searched for in
            its folder.
        names: file names, relative to the source and its subfolder, in order of preference.
        exact: match a local file by its own name only, not by its extension.
        **options: see `HubOptions`.

    Raises:
        FileNotFoundError: if the folder, repository or revision does not exist, or the hub cannot be reached.
        ValueError: if a name, the subfolder or a symbolic link leads out of the source, or the source is not a valid
            hub id.
    """
    return _search(source, _as_names(names), options, exact=exact)[0]


def require_file(source: str | os.PathLike[str], names: str | Sequence[str], **options: Unpack[HubOptions]) -> Path:
    """Return the path like `find_file`, but raise an error if there is no such file.

    Args:
        source: as in `find_file`.
        names: as in `find_file`.
        **options: see `HubOptions`.

    Raises:
        FileNotFoundError: as in `find_file`, or if the source has none of `names`; the message lists its files.
        ValueError: as in `find_file`.
    """
    names = _as_names(names)
    path, reason = _search(source, names, options)
    if path is not None:
        return path
    place = _place(source, options)
    if reason:
        raise FileNotFoundError(f"{_any_of(names)} of {place} is not in the local cache, and {reason}")
    raise FileNotFoundError(f"{place} contains no {_any_of(names)}{_what_is_there(source, options)}")


def list_files(source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> list[str]:
    """Return the sorted names of a source's files, relative to its subfolder; if offline, those in the cached copy.

    Args:
        source: as in `find_file`.
        **options: see `HubOptions`.

    Raises:
        FileNotFoundError: as in `find_file`.
        ValueError: as in `find_file`.
    """
    subfolder = _subfolder(options)
    path = expanded(given_path(source))
    settle(path / subfolder)
    if path.is_file():
        path = path.parent
    if path.is_dir():
        folder = path / subfolder
        return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    prefix = f"{subfolder}/" if subfolder else ""
    names = files_in_repository(_hub_id(source), options)
    return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def check_file_name(name: str) -> str:
    """Return a file name read from a file, after checking that it stays inside its folder.

    Args:
        name: the file name.

    Returns:
        The name.

    Raises:
        ValueError: if the name is empty, absolute or very long, or leads out of the folder.
    """
    as_path = PureWindowsPath(name)  # handles both separators, and drives
    is_outside = not as_path.parts or as_path.anchor or ".." in as_path.parts or "\0" in name
    if is_outside or any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST_NAME for part in as_path.parts):
        raise ValueError(
            f"{shortened(repr(name))} is not a file name inside a folder; give a relative one without '..'"
        )
    return name


def _as_names(names: str | Sequence[str]) -> list[str]:
    return [check_file_name(name) for name in ([names] if isinstance(names, str) else names)]


def _any_of(names: Sequence[str]) -> str:
    """Join names for a message, leaving out the index of a file's shards if the file is also named."""
    *others, last = [name for name in names if not (name.endswith(_INDEX) and name.removesuffix(_INDEX) in names)]
    return f"{', '.join(others)} or {last}" if others else last


def _subfolder(options: HubOptions) -> str:
    subfolder = options.get("subfolder") or ""
    return check_file_name(subfolder).strip("/") if subfolder else ""


def _search(
    source: str | os.PathLike[str], names: list[str], options: HubOptions, *, exact: bool = False
) -> tuple[Path | None, str]:
    """Return the file, or None and, if the hub could not be contacted, the reason."""
    subfolder = _subfolder(options)
    path = expanded(given_path(source))
    settle(path / subfolder)
    if path.is_file():
        given = path.name in names or (not exact and len(names) == 1 and path.suffix == Path(names[0]).suffix)
        return (path, "") if given else (_first_in(path.parent, names), "")
    if path.is_dir():
        folder = path / subfolder
        if not folder.is_dir():
            raise FileNotFoundError(f"{path} contains no folder {subfolder!r}")
        return _first_in(folder, names), ""
    return first_in_repository(_hub_id(source), names, {**options, "subfolder": subfolder or None})


def _first_in(folder: Path, names: list[str]) -> Path | None:
    for name in names:
        path = folder / name
        if path.is_file():
            _check_inside(path, folder)
            return path
    return None


def _check_inside(path: Path, folder: Path) -> None:
    """Check that a file does not lie elsewhere, through a symbolic link.

    A folder from a stranger could otherwise name any file of this machine, whose content a conversion would copy.
    Links into the blobs of a download cache are allowed: its snapshots consist of them, and so do folders that older
    releases of huggingface_hub filled.

    Raises:
        ValueError: it does.
    """
    real, inside = path.resolve(), folder.resolve()
    is_blob = real.parent.name == "blobs" and real.parent.parent.name.startswith("models--")
    if not real.is_relative_to(inside) and not is_blob:
        raise ValueError(
            f"{printable(path)} is a link to {printable(real)}, outside its folder; copy that file, or give it or "
            "its folder directly"
        )


def _hub_id(source: str | os.PathLike[str]) -> str:
    """Return the source as a hub id, if it can be one."""
    text = os.fspath(source)
    path = expanded(text)
    check_no_dangling_link(path)
    if os.path.exists(path):  # noqa: PTH110  no error for a long name
        raise FileNotFoundError(f"{text!r} is neither a file nor a folder; give a folder, a file, or a hub id")
    if not isinstance(source, str) or text.startswith((".", "~")) or Path(text).is_absolute() or text.count("/") > 1:
        raise FileNotFoundError(f"{text!r} does not exist; give a folder, a file, or a hub id such as 'user/model'")
    return text


def _place(source: str | os.PathLike[str], options: HubOptions) -> str:
    """Describe the source for messages."""
    path = expanded(given_path(source))
    if path.is_file():
        return f"{source}: its folder"
    subfolder, revision = _subfolder(options), options.get("revision")
    in_folder = f"{source}/{subfolder}" if subfolder else str(source)
    at_revision = f" at revision {revision!r}" if revision not in {None, "main"} and not path.exists() else ""
    return in_folder + at_revision


def _what_is_there(source: str | os.PathLike[str], options: HubOptions) -> str:
    """Return the end of a message: a list of the source's files and folders, as far as they are known."""
    path = expanded(given_path(source))
    folder = path.parent if path.is_file() else path / _subfolder(options)
    try:
        if folder.is_dir():  # without its subfolders, which may be large
            entries = {one.name: one.is_dir() for one in folder.iterdir()}
            models = {name for name in entries if (folder / name / _OF_A_MODEL).is_file()}
        else:
            parted = [name.partition("/") for name in list_files(source, **options)]
            entries = {first: bool(rest) for first, _, rest in parted}
            models = {first for first, _, rest in parted if rest == _OF_A_MODEL}
        ends = {name: "/" * entries[name] + _OF_A_MODEL * (name in models) for name in entries}
        names = [name + end for name, end in sorted(ends.items())]
    except OSError:
        return ""
    if not names:
        return "; it is empty"
    names = [name for name in names if not name.startswith(".")]
    if not names:
        return "; it contains hidden files only"
    more = f" and {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
    return f"; it contains {', '.join(map(shortened, names[:_SHOWN_FILES]))}{more}"
