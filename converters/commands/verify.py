"""`clip-zoo verify`: compare frameworks, or checkpoints, stage by stage."""

from __future__ import annotations

import json as json_module
from functools import partial
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clip_core.commands.options import MODEL_DTYPES, SEVERAL, Page, dtype_option
from clip_core.commands.streams import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from converters.verification.comparison import Comparison
    from converters.verification.result import Verification

FAILED = 1  # the exit code


def verify(
    checkpoint: Annotated[str, Parameter(name="CHECKPOINT")],
    /,
    *,
    against: str | None = None,
    backend: Annotated[list[str] | None, SEVERAL] = None,
    dtype: Annotated[str, dtype_option(*MODEL_DTYPES)] = "float32",
    grad: Annotated[bool, Parameter(negative="")] = False,
    train_step: Annotated[bool, Parameter(negative="")] = False,
    explain: Annotated[bool, Parameter(negative="")] = False,
    report: Page = None,
    all_stages: Annotated[bool, Parameter(name="--all", negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the same images and texts through each framework and compare every stage; exit code 1 if they disagree.

    Parameters
    ----------
    checkpoint
        A folder, a weight file or a hub id, in any format.
    against
        Another checkpoint, such as the original of a converted one. Each framework runs and compares both.
    backend
        The frameworks that run the model; reference is float64 numpy. By default, all that are installed.
    dtype
        The dtype of weights and computation: float32, bfloat16 or float16; or fp32, bf16 or fp16 for short.
    grad
        Also compare the gradients of every parameter.
    train_step
        Also compare the gradients, and every parameter after one step of AdamW.
    explain
        Also compare the explanations of clip-zoo explain, by each method and from every start layer.
    report
        Write an HTML report to this file, with a plot of the drift from layer to layer. Missing folders are
        created, and an earlier page is replaced.
    all_stages
        Show every stage of every pair, not only the worst of each group.
    json
        Print a JSON object instead of the table.
    """
    from clip_core.hub.targets import check_page
    from converters.verification.report import write_report
    from converters.verification.verify import verify as verify_checkpoint

    if report is not None:
        check_page("report", report)
    result = verify_checkpoint(
        checkpoint,
        against=against,
        backends=backend,
        dtype=dtype,
        gradients=grad,
        train_step=train_step,
        explain=explain,
    )
    if report is not None:
        write_report(result, report)
    if json:
        print(json_module.dumps(result.to_dict(), ensure_ascii=False))
    else:
        _print(result, all_stages=all_stages)
    return 0 if result.passed else FAILED


def _print(result: Verification, *, all_stages: bool) -> None:
    out = partial(console().print, soft_wrap=True)
    ran = ", ".join(result.runs)
    compared = "" if result.against is None else f" against {result.against}"
    out(f"{result.class_name} in {result.checkpoint}{compared}: {ran}, {result.dtype}")
    for name, origin in result.inputs.items():
        out(f"{name}: {origin if origin == 'drawn' else f'from the processor of {origin}'}")
    shown = result.comparisons if all_stages else list(result.worst_of_groups().values())
    if shown:
        headings, *rows = _table(shown, console().width)
        out(headings, style="bold")
        out("\n".join(rows))
    for name, why in result.failures.items():
        out(f"{name} did not finish: {why.rstrip()}")
    for one in shown:
        if one.fault is not None:
            out(f"{one.stage}: {one.fault}")
    for name, (value, other) in result.configuration.items():
        out(f"configuration: {name} is {value} in the first checkpoint and {other} in the second")
    out(result.verdict())


def _table(comparisons: Iterable[Comparison], width: int) -> list[str]:
    """Return the lines of a table, the headings first.

    Stage and runs get a line of their own if a row has more columns than `width`: a name in pieces is hard to read.
    """
    names, numbers = [("group", "stage", "runs")], [("absolute", "relative", "tolerance", "")]
    for one in comparisons:
        names.append((one.group, one.stage, " / ".join(one.pair)))
        verdict = "pass" if one.passed else "FAIL"
        numbers.append((f"{one.absolute:.1e}", f"{one.relative:.1e}", f"{one.tolerance:.0e}", verdict))
    left, right = _aligned(names, str.ljust), _aligned(numbers, str.rjust)
    if len(left[0]) + 1 + len(right[0]) <= width:
        return [f"{words} {figures}" for words, figures in zip(left, right, strict=True)]
    groups = _aligned([(group,) for group, *_ in names], str.ljust)
    lines = [f"{group} {figures}" for group, figures in zip(groups, right, strict=True)]
    return lines[:1] + [
        line for row, (_, stage, runs) in zip(lines[1:], names[1:], strict=True) for line in (row, f"  {stage}, {runs}")
    ]


def _aligned(rows: Sequence[Sequence[str]], align: Callable[[str, int], str]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [" ".join(map(align, row, widths)) for row in rows]
