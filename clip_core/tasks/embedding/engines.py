"""The engines that run a job: this process, or workers of Ray on one machine or many.

Both call `Embedder` for each piece, so a dataset does not depend on its engine. Ray only schedules: it starts a worker
for each model, gives it a piece at a time, and gives the piece of a worker that died to another.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Protocol

from clip_core.hub.printing import printable
from clip_core.tasks.embedding.embedder import Embedder
from clip_core.tasks.embedding.parts import PartResult
from clip_core.tasks.embedding.pieces import Piece
from clip_core.tasks.search.identity import OtherModelError, check_model, describe_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clip_core.tasks.embedding.embedder import ModelSettings
    from clip_core.tasks.embedding.pieces import Source
    from clip_core.tasks.embedding.places import Location
    from clip_core.tasks.zero_shot import ZeroShotClassifier

_MOST_BLOCKS = 10_000  # that Ray keeps track of; the pieces are spread evenly over them
_RETRIES = 3  # of reading the facts about the model, if the worker dies
# Errors raised again in the first process; Ray's own traceback would hide their messages.
_ERRORS = (OtherModelError, FileNotFoundError, PermissionError, ImportError, OSError, ValueError, MemoryError)


class Runner(Protocol):
    """An engine. It is entered before its methods are called."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def begin(self, settings: ModelSettings, facts: dict[str, Any] | None) -> dict[str, Any]:
        """Load the model, and return the facts about it; or check that it is the one of a manifest, and return that.

        Args:
            settings: the model.
            facts: the manifest; None for a new dataset.

        Raises:
            OtherModelError: if it is another model.
        """
        ...

    def run(
        self, settings: ModelSettings, source: Source, place: Location, facts: dict[str, Any], pieces: Sequence[Piece]
    ) -> Iterator[PartResult]:
        """Embed pieces, and yield the results in any order.

        Args:
            settings: the model.
            source: the source of the images.
            place: the folder of the dataset.
            facts: its manifest.
            pieces: the pieces.
        """
        ...


class LocalEngine:
    """This process, which embeds one piece after the other."""

    _model: ZeroShotClassifier  # since `begin`

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def begin(self, settings: ModelSettings, facts: dict[str, Any] | None) -> dict[str, Any]:
        """Load the model, and keep it."""
        self._model, facts = _begun(settings, facts)
        return facts

    def run(
        self, settings: ModelSettings, source: Source, place: Location, facts: dict[str, Any], pieces: Sequence[Piece]
    ) -> Iterator[PartResult]:
        """Embed pieces, in order."""
        yield from map(Embedder(self._model, settings, source, place, facts), pieces)


class RayEngine:
    """Workers of Ray: on the cluster that RAY_ADDRESS names, or that this process is connected to, or else here.

    Args:
        workers: the number of models; None for one on each GPU, or on each machine without one.

    Raises:
        ImportError: if Ray is not installed.
    """

    def __init__(self, workers: int | None = None) -> None:
        try:
            import ray.data  # noqa: F401
        except ImportError as error:
            raise ImportError("engine='ray' needs Ray; pip install 'clip-zoo[ray]'") from error
        self._workers = workers
        self._stack = ExitStack()

    def __enter__(self) -> None:
        """Connect to Ray, unless this process is connected; a cluster that is started here ends with the job.

        Raises:
            OSError: if Ray cannot be started, or does not answer.
        """
        import ray

        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # otherwise the executor writes to the terminal
        here = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **here)
        except Exception as error:  # Ray raises Exception itself, such as for a start that takes too long
            where = "could not start on this machine" if here else f"does not answer at {os.environ['RAY_ADDRESS']}"
            raise OSError(f"engine='ray': Ray {where}: {printable(str(error).partition(chr(10))[0])}") from error
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own handler would exit with code 15 instead of 143
        self._stack.callback(ray.shutdown)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, settings: ModelSettings, facts: dict[str, Any] | None) -> dict[str, Any]:
        """Load the model in a worker of its own, which frees its device before the others start."""
        import ray

        _, share = self._shares(ray)
        task = ray.remote(max_retries=_RETRIES, **share)(_facts_or_error)
        found: dict[str, Any] = _value_of(json.loads(ray.get(task.remote(settings, facts))))
        return found

    def run(
        self, settings: ModelSettings, source: Source, place: Location, facts: dict[str, Any], pieces: Sequence[Piece]
    ) -> Iterator[PartResult]:
        """Embed pieces; a piece whose worker dies goes to another one."""
        import ray

        workers, share = self._shares(ray)
        settings = replace(settings, num_threads=settings.num_threads or share["num_cpus"])
        rows = [{"piece": json.dumps(asdict(piece))} for piece in pieces]
        work = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map_batches(
            _Worker,
            fn_constructor_args=(settings, source, place, facts),
            batch_size=1,
            # One piece at a time: a worker that has two would let another wait at the end.
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows)), max_tasks_in_flight_per_actor=1),
            **share,
        )
        for row in work.iter_rows():
            yield _result(_value_of(json.loads(row["result"])))

    def _shares(self, ray: Any) -> tuple[int, dict[str, Any]]:
        """Return the number of workers, and the processors and GPUs of each, which fit on the smallest machine."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = sum(node.get("GPU", 0) for node in nodes)
        workers = self._workers or int(gpus) or len(nodes)
        with_gpus = [node for node in nodes if node.get("GPU", 0)] or nodes
        on_each = -(-workers // len(with_gpus))
        processors = max(1, int(min(node.get("CPU", 1) for node in with_gpus)) // on_each)
        share: dict[str, Any] = {"num_cpus": processors}
        if gpus:
            share["num_gpus"] = min(1, gpus / workers)
        return workers, share


class _Worker:
    """A worker of Ray: an embedder, made on its machine."""

    def __init__(self, settings: ModelSettings, source: Source, place: Location, facts: dict[str, Any]) -> None:
        self._loaded = _or_error(lambda: Embedder.load(settings, source, place, facts))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"result": [json.dumps(self._embed(piece)) for piece in batch["piece"]]}

    def _embed(self, content: str) -> dict[str, Any]:
        fields = json.loads(content)
        piece = Piece(**{**fields, "paths": tuple(fields["paths"])})
        return _or_error(lambda: _value_of(self._loaded)(piece)._asdict())


def _begun(settings: ModelSettings, facts: dict[str, Any] | None) -> tuple[ZeroShotClassifier, dict[str, Any]]:
    model = settings.load()
    if facts is None:
        return model, describe_model(model, settings.source, settings.backend, settings.dtype)
    check_model(model, settings.source, settings.dtype, facts, "dataset")
    return model, facts


def _facts_or_error(settings: ModelSettings, facts: dict[str, Any] | None) -> str:
    return json.dumps(_or_error(lambda: _begun(settings, facts)[1]))


def _or_error(function: Callable[[], Any]) -> dict[str, Any]:
    """Return the value of a function, or its error in a form that JSON can carry to the first process."""
    try:
        return {"value": function()}
    except _ERRORS as error:
        number = next(place for place, kind in enumerate(_ERRORS) if isinstance(error, kind))
        return {"error": number, "message": str(error)}


def _value_of(outcome: dict[str, Any]) -> Any:
    if "error" in outcome:
        raise _ERRORS[outcome["error"]](outcome["message"])
    return outcome["value"]


def _result(fields: dict[str, Any]) -> PartResult:
    return PartResult(**{**fields, "reasons": tuple(tuple(reason) for reason in fields["reasons"])})
