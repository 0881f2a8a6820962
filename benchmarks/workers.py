"""Starting workers: several at once, with the reasons for those that fail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from remote import Worker, WorkerError
from targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@contextmanager
def started(
    checkpoint: Path,
    wanted: Mapping[str, tuple[str, dict[str, Any]]],
    *,
    at_once: int = 1,
    patience: float | None = None,
) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Start workers that hold the checkpoint; also yield the reasons for those that could not start.

    Args:
        checkpoint: the folder.
        wanted: name to target and further load options.
        at_once: number of workers to load in parallel.
        patience: seconds to wait for any of their answers.
    """

    def start(name: str) -> Worker | WorkerError:
        target, options = wanted[name]
        try:
            return Worker(name, TARGETS[target], patience=patience, checkpoint=str(checkpoint), **options)
        except WorkerError as error:
            return error

    workers, left_out = {}, {}
    with ExitStack() as stack, ThreadPoolExecutor(at_once) as pool:
        for name, worker in zip(wanted, pool.map(start, wanted), strict=True):
            if isinstance(worker, WorkerError):
                left_out[name] = str(worker)
            else:
                workers[name] = stack.enter_context(worker)
        yield workers, left_out


def plainly(targets: Mapping[str, Any] | tuple[str, ...]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return targets under their own names, without further options."""
    return {name: (name, {}) for name in targets}
