"""`clip-zoo diff`: the differences between two checkpoints of any formats."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clip_core.hub.printing import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.inspection.diff import Difference

DIFFERENT = 1  # the exit code
_SHOWN = 20  # tensors, the largest differences first


def diff(
    a: Annotated[str, Parameter(name="A")],
    b: Annotated[str, Parameter(name="B")],
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Compare two checkpoints in any formats; the exit code is 1 if they differ.

    Parameters
    ----------
    a
        A folder, a weight file or a hub id.
    b
        Another checkpoint.
    json
        Print a JSON object instead of text.
    """
    from converters.inspection.diff import diff as diff_checkpoints

    difference = diff_checkpoints(a, b)
    if json:
        print(json_module.dumps(difference.to_dict(), ensure_ascii=False))
    else:
        print("\n".join(_lines(difference)))
    return DIFFERENT if difference else 0


def _lines(difference: Difference) -> Iterator[str]:
    for names, where in ((difference.only_in_a, "A"), (difference.only_in_b, "B")):
        yield from (f"only in {where}: {name}" for name in names)
    for name, shapes in difference.shapes.items():
        yield f"shape: {name}: {shapes[0]} in A, {shapes[1]} in B"
    for name, values in difference.config.items():
        yield f"configuration: {name}: {values[0]} in A, {values[1]} in B"
    changes = sorted(difference.values.items(), key=lambda item: -item[1].absolute)
    for name, change in changes[:_SHOWN]:
        largest = f"{change.absolute:.3g} at most, {change.relative:.2%} of the largest value"
        yield f"values: {name}: {change.count} differ, by {largest}"
    if len(changes) > _SHOWN:
        yield f"values: ... and {counted(len(changes) - _SHOWN, 'more tensor')}"
    if difference.dtypes:
        name, dtypes = next(iter(difference.dtypes.items()))
        count = counted(len(difference.dtypes), "tensor")
        yield f"dtype: different in {count}; {name}: {dtypes[0]} in A, {dtypes[1]} in B"
    yield f"{counted(difference.identical, 'tensor')} identical" + ("" if difference else "; nothing differs")
