"""Where the loaders of a run's processes stood, for as many processes as go on with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.data.pairs import IndexedPairs

if TYPE_CHECKING:
    from clip_core.data import PairLoader

_OF_PROCESS = ("batch_size", "process_index", "process_count")


def written(states: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
    """The states of the loaders of all processes, as a checkpoint has them: of one process, the state itself."""
    return states[0] if len(states) == 1 else states


def own_state(kept: dict[str, Any] | list[dict[str, Any]], loader: PairLoader) -> dict[str, Any]:
    """What a process's loader goes on from, of what `written` returned.

    As many processes as there were go on where each was. Others do where that gives the same batches: the processes
    take turns at one order, as long as none had to skip a broken sample, and no data come as a stream, of which each
    process has a part.

    Args:
        kept: the states.
        loader: of this process.

    Raises:
        ValueError: there are more or fewer processes now, and they would get other batches.
    """
    states: list[dict[str, Any]] = kept if isinstance(kept, list) else [kept]
    now = loader.state_dict()["order"]
    index: int = now["process_index"]
    if len(states) == now["process_count"]:
        return states[index]
    first, was = states[0], states[0]["order"]
    if was["batch_size"] * was["process_count"] != now["batch_size"] * now["process_count"]:
        return first  # the loader tells what differs
    if not isinstance(loader.source, IndexedPairs) or any(state["broken"] for state in states):
        raise ValueError(
            f"the checkpoint is of {was['process_count']} processes, and now there are {now['process_count']}: with "
            "shards, Parquet files or broken samples a run goes on with as many as it had"
        )
    return {
        **first,
        "taken": first["batches"] * now["batch_size"],
        "order": {**was, **{name: now[name] for name in _OF_PROCESS}},
    }
