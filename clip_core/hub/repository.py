"""Hugging Face hub repositories, with one-line errors that say what to do."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub.arrival import ArrivalError, download
from clip_core.hub.patience import asked_wait, patiently, response_of
from clip_core.hub.switching import STAGING_PREFIX, settle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clip_core.hub.options import HubOptions


def first_in_repository(repo_id: str, names: Sequence[str], options: HubOptions) -> tuple[Path | None, str]:
    """Return the first existing file of `names`, downloaded or from the cache.

    Args:
        repo_id: the repository.
        names: file names, in order of preference.
        options: the hub options.

    Returns:
        The path and an empty string; or None and the reason why the hub could not be contacted, which is empty if the
        repository has none of the files. Without access to the hub, a cached copy is assumed to be complete.

    Raises:
        FileNotFoundError: if the repository or revision does not exist, or is neither cached nor accessible.
        ArrivalError: if a file is not what the hub announced.
    """
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    arguments: dict[str, Any] = dict(options)
    reason = ""
    for name in names:
        try:
            with _errors_in_one_line(repo_id, options):
                return download(repo_id, name, **arguments), ""
        except LocalEntryNotFoundError as error:
            reason = reason or _why_not_asked(error, options)
            arguments["local_files_only"] = True  # do not try to reach the hub again
        except EntryNotFoundError:
            continue
    if reason and _cached_snapshot(repo_id, options) is None:
        revision = options.get("revision")
        at_revision = "" if revision in {None, "main"} else f" at revision {revision!r}"
        raise FileNotFoundError(f"{repo_id!r}{at_revision} is neither a local folder nor in the cache, and {reason}")
    return None, reason


def commit_of(path: Path) -> str | None:
    """Return the commit of a file in the download cache; None for any other file.

    Args:
        path: such as ".../snapshots/<commit>/config.json".
    """
    found = re.search(r"snapshots/([0-9a-f]{40})/", path.as_posix())
    return None if found is None else found[1]


def files_in_repository(repo_id: str, options: HubOptions) -> list[str]:
    """Return the names of all files in a repository, or in its cached copy if the hub cannot be reached.

    Args:
        repo_id: the repository.
        options: the hub options.

    Raises:
        FileNotFoundError: as in `first_in_repository`.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT
    from huggingface_hub.errors import OfflineModeIsEnabled

    if not options.get("local_files_only"):
        try:
            with _errors_in_one_line(repo_id, options):
                ask = HfApi(token=options.get("token")).model_info  # list_repo_files has no time limit
                revision = options.get("revision")
                info = patiently(lambda: ask(repo_id, revision=revision, timeout=HF_HUB_ETAG_TIMEOUT))
                return [file.rfilename for file in info.siblings or ()]
        except OfflineModeIsEnabled:
            pass
    snapshot = _cached_snapshot(repo_id, options)
    if snapshot is None:
        raise FileNotFoundError(f"{repo_id!r} is neither a local folder nor cached, and the hub was not contacted")
    return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]


def upload_folder(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    token: str | bool | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> str:
    """Upload a folder's files to a model repository on the hub, created if missing.

    Args:
        folder: the local folder.
        repo_id: such as "user/my-clip"; without a user, the token's owner.
        token: as in `HubOptions`; needs write access.
        commit_message: title of the commit.
        commit_description: the text below the title.
        private: make a new repository private; None for the account's default.
        revision: the branch to commit to, created if missing; `main` by default.
        create_pr: open a pull request instead of committing.

    Returns:
        The URL of the commit.

    Raises:
        OSError: if the hub is unreachable or rejects the upload; the message says what to do.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    settle(Path(folder))
    try:
        api = HfApi(token=token)
        new_repo: dict[str, Any] = {} if private is None else {"private": private}
        repo_id = api.create_repo(repo_id, exist_ok=True, **new_repo).repo_id
        if revision is not None and not revision.startswith("refs/pr"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=os.fspath(folder),
            commit_message=commit_message or "Upload model",
            commit_description=commit_description,
            revision=revision,
            create_pr=create_pr,
            ignore_patterns=[f"{STAGING_PREFIX}*"],  # left behind by a killed save
        )
        return str(commit.commit_url)
    except HfHubHTTPError as error:
        raise OSError(
            f"cannot upload to {repo_id!r}: the hub returned status {_status(error)}; check the name, and pass "
            "token=... or run `hf auth login` with a token that has write access"
        ) from error
    except _broken_on_the_way() as error:
        raise OSError(f"cannot upload to {repo_id!r} ({_first_line(error)}); check the network") from error


@contextmanager
def _errors_in_one_line(repo_id: str, options: HubOptions) -> Iterator[None]:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except (EntryNotFoundError, OfflineModeIsEnabled, ArrivalError):
        raise
    except GatedRepoError as error:
        raise FileNotFoundError(
            f"{repo_id!r} is gated on the hub: accept its terms on its page there, then pass token=... or run `hf auth "
            "login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{repo_id!r} is neither a local folder nor a model on the hub; check the spelling, or if it is private, "
            "pass token=... or run `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"{repo_id!r} on the hub has no revision {options.get('revision')!r}; give one of its branches, tags or "
            "commits"
        ) from error
    except HFValidationError as error:
        raise FileNotFoundError(
            f"{repo_id!r} is neither a local folder or file nor a hub id such as 'user/model'"
        ) from error
    except HfHubHTTPError as error:
        raise FileNotFoundError(
            f"{repo_id!r} could not be downloaded: the hub returned status {_status(error)}; {_when(error)}"
        ) from error
    except ValueError as error:  # raised by huggingface_hub if force_download is impossible
        raise FileNotFoundError(
            f"{repo_id!r} cannot be downloaded again, as force_download=True requests: {_why_not_asked(error, options)}"
        ) from error
    except RecursionError as error:  # huggingface_hub follows redirects by recursion
        raise FileNotFoundError(
            f"{repo_id!r} could not be downloaded: the hub redirects in circles; check the network's proxy"
        ) from error
    except _broken_on_the_way() as error:
        raise FileNotFoundError(
            f"{repo_id!r} could not be downloaded from the hub ({_first_line(error)}); check the network and the disk"
        ) from error


def _broken_on_the_way() -> tuple[type[BaseException], ...]:
    """Return the errors of a broken connection: OSError from requests; newer releases raise httpx's."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *HfHubHTTPError.__bases__)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _why_not_asked(error: Exception, options: HubOptions) -> str:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if options.get("local_files_only"):
        return "local_files_only=True forbids contacting the hub; omit it to download"
    if HF_HUB_OFFLINE:
        return "offline mode is on; unset HF_HUB_OFFLINE to download"
    cause = error.__cause__
    if _status(cause) is not None:
        return f"the hub returned status {_status(cause)}; {_when(cause)}"
    return f"the hub cannot be reached ({type(cause).__name__}); check the network, or give a local folder"


def _status(error: BaseException | None) -> int | None:
    return getattr(response_of(error), "status_code", None)


def _when(error: BaseException | None) -> str:
    wait = asked_wait(error)
    return "try again later" if wait is None else f"try again in {wait} s, as it asks"


def _cached_snapshot(repo_id: str, options: HubOptions) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot = snapshot_download(
            repo_id,
            revision=options.get("revision"),
            cache_dir=os.fspath(cache_dir) if (cache_dir := options.get("cache_dir")) else None,
            local_files_only=True,
            allow_patterns=[],  # no files; otherwise, newer versions require a complete copy
        )
    except LocalEntryNotFoundError:
        return None
    return Path(snapshot)
