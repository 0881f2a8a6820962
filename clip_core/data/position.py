"""Where in the data a loader is, and how that is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from clip_core.data.pairs import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Position(NamedTuple):
    """Where in the data a batch ended.

    Attributes:
        epoch: from 0.
        batches: of the epoch, so far.
        taken: samples of the epoch so far, broken ones too.
        broken: how many of those are.
        truncated: captions that were cut, so far.
    """

    epoch: int = 0
    batches: int = 0
    taken: int = 0
    broken: int = 0
    truncated: int = 0


def to_state(position: Position, broken: Sequence[Broken], order: Mapping[str, Any]) -> dict[str, Any]:
    """A position as plain JSON values.

    Args:
        position: the position.
        broken: the epoch's broken samples before it.
        order: the settings that the order of samples depends on.
    """
    samples = [[sample.key, sample.reason] for sample in broken]
    return {**position._asdict(), "broken": samples, "order": dict(order)}


def from_state(state: Mapping[str, Any], order: Mapping[str, Any]) -> tuple[Position, list[Broken]]:
    """The position and the broken samples that `to_state` wrote down.

    Args:
        state: what it returned.
        order: the settings now.

    Raises:
        ValueError: it returned something else, or the settings were others.
    """
    try:
        broken = [Broken(key, reason) for key, reason in state["broken"]]
        position = Position(state["epoch"], state["batches"], state["taken"], len(broken), state["truncated"])
        before = state["order"]
        differing = [name for name in order if before.get(name) != order[name]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no state of a PairLoader: {error!r}") from error
    if differing:
        was = ", ".join(f"{name}={before.get(name)!r}" for name in differing)
        now = ", ".join(f"{name}={order[name]!r}" for name in differing)
        raise ValueError(f"the state is of a loader with {was}, and this one has {now}; it cannot be resumed")
    return position, broken
