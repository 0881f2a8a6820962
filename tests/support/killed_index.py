"""`clip-zoo index` in forks of a process that has imported PyTorch, which kills them at chosen moments.

Importing PyTorch takes longer than indexing a few images, so that is done once. The process starts no thread, loads no
model, and runs the command in a fork for each request, as the shell would: with its own standard output, and in two
processes, one of which watches the other. As the parent of what it kills, it never hits a later process of the same id.

At the beginning of a step the fork waits until it is told to go on, so that this process is awake, and hits a step that
takes less than a millisecond.

As a program it reads requests from standard input, and answers each, one JSON object per line.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self
from unittest import mock

from clip_core.cli import main as clip_zoo
from clip_core.commands import index as command
from clip_core.tasks.search import approximate, index, updating
from clip_core.tasks.search.store import SqliteStore
from clip_core.tasks.zero_shot import ZeroShotClassifier
from support.programs import environment
from support.search import stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The steps of the command, by the functions that do them; the last one that began is the one that a kill interrupts.
STEPS = {
    "opening": (SqliteStore, "__init__"),
    "comparing files": (index, "make_plan"),
    "loading": (ZeroShotClassifier, "from_pretrained"),
    "checking the model": (index, "check_model"),
    "preparing the model": (ZeroShotClassifier, "prepared"),
    "encoding": (index, "apply_plan"),
    "removing rows": (SqliteStore, "delete"),
    "updating times": (SqliteStore, "touch"),
    "committing": (SqliteStore, "add"),
    "compacting": (SqliteStore, "compact"),
    "rewriting vectors": (SqliteStore, "_rewrite"),
    "writing lists": (approximate, "updated"),
    "removing old files": (SqliteStore, "_remove_old"),
    "reporting": (command, "_report"),
}
STARTING, BETWEEN, END = "starting", "between the steps", "end"
_AWAKE = 0.001  # seconds before a kill from which on this process does not sleep

# The stand-in for the model stores every batch at once, and makes inverted lists of few vectors.
_SMALL = {(updating, "_COMMIT_AFTER"): 0, (approximate, "WORTH"): 40, (approximate, "_OUTSIDE"): 8}


@dataclass(frozen=True)
class Kill:
    """The moment of a kill.

    Attributes:
        after: seconds since the step began.
        step: one of `STEPS`, whose processes are killed together; or None for the start of the command, of which only
            the process that was started is killed, and the kernel ends the other.
        time: 1 for the first time that this step begins, 2 for the second.
    """

    after: float
    step: str | None = None
    time: int = 1


@dataclass(frozen=True)
class Run:
    """A run of the command.

    Attributes:
        rows: the objects that it printed.
        errors: its standard error.
        code: its exit code; None if it was killed.
        step: the step that was interrupted.
        seconds: the longest time that each step took, and None for the time of the run.
    """

    rows: list[dict[str, Any]]
    errors: str
    code: int | None
    step: str
    seconds: dict[str | None, float]


class IndexCommand:
    """The command in forks of a warm process, which ends with the block.

    Args:
        folder: a folder for its output.
    """

    def __init__(self, folder: Path) -> None:
        self._output, self._errors = folder / "output", folder / "errors"
        # Without these, BLAS starts its threads when numpy is imported. The command is offline.
        alone = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        program = [sys.executable, "-m", "support.killed_index"]
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(**alone)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def __call__(self, *arguments: object, is_real: bool = True, kill: Kill | None = None) -> Run:
        """Run the command.

        Args:
            *arguments: the command line after `clip-zoo index`.
            is_real: True for the command as it is; False for a stand-in for the model, and lists of few vectors.
            kill: the moment to kill it with SIGKILL; None to let it end.
        """
        request = {
            "arguments": ["clip-zoo", "index", "--json", *map(str, arguments)],
            "output": str(self._output),
            "errors": str(self._errors),
            "is_real": is_real,
            "kill": kill and [kill.after, kill.step, kill.time],
        }
        for file in (self._output, self._errors):  # a run may be killed before it opens them
            file.write_bytes(b"")
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        status, began, moments = answer["status"], answer["began"], answer["moments"]
        assert not os.WIFSIGNALED(status) or (kill is not None and os.WTERMSIG(status) == signal.SIGKILL)
        longest: dict[str | None, float] = {None: answer["ended"] - began}
        for step, start, end in _completed(moments):
            longest[step] = max(longest.get(step, 0), end - start)
        lines = self._output.read_text(encoding="utf-8").splitlines(keepends=True)
        return Run(
            [json.loads(line) for line in lines if line.endswith("\n")],
            self._errors.read_text(encoding="utf-8"),
            None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
            _current(moments),
            longest,
        )


def _completed(moments: list[list[Any]]) -> Iterator[tuple[str, float, float]]:
    """Yield the steps that ended, when they began, and when they ended."""
    begun: list[list[Any]] = []
    for moment in moments:
        if moment[0] != END:
            begun.append(moment)
        else:
            step, start = begun.pop()
            yield step, start, moment[1]


def _current(moments: list[list[Any]]) -> str:
    """Return the innermost step that had begun and not ended."""
    begun = [STARTING] if not moments else [BETWEEN]
    for step, _ in moments:
        if step == END:
            begun.pop()
        else:
            begun.append(step)
    return begun[-1]


def main() -> None:
    """Answer requests."""
    import faiss  # noqa: F401
    import tqdm  # noqa: F401

    import clip_core.commands.app  # noqa: F401
    import clip_torch.backend  # noqa: F401

    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lack the other threads"  # noqa: PTH208
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)  # noqa: T201


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run the command in a fork; return its status, when it began and ended, and the beginnings and ends of steps."""
    told, telling = os.pipe()
    going, go_on = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(told)
        os.close(go_on)
        os.setpgid(0, 0)
        _run(request, telling, going)
    os.close(telling)
    began, moments, rest = time.monotonic(), [], b""
    after, step, times = request["kill"] or (None, None, 0)
    at = began + after if after is not None and step is None else None
    while True:
        wait = None if at is None else max(0, at - time.monotonic() - _AWAKE)
        if select.select([told], [], [], wait)[0]:
            read = os.read(told, 2**16)
            if not read:  # both processes have ended
                break
            *lines, rest = (rest + read).split(b"\n")
            moments += map(json.loads, lines)
            if moments[-1][0] != END:  # the fork waits, so nothing follows
                times -= moments[-1][0] == step
                if times == 0 and moments[-1][0] == step:
                    at = time.monotonic() + after
                os.write(go_on, b".")
        if at is not None and time.monotonic() >= at:
            (os.kill if step is None else os.killpg)(process, signal.SIGKILL)
            at = None
    os.close(told)
    os.close(go_on)
    os.close(going)
    status = os.waitpid(process, 0)[1]
    return {"status": status, "began": began, "ended": time.monotonic(), "moments": moments}


def _run(request: dict[str, Any], telling: int, going: int) -> NoReturn:
    """Be the command, which tells of its steps."""
    for descriptor, path in enumerate((os.devnull, request["output"], request["errors"])):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = request["arguments"]
    code: Any = 1
    with ExitStack() as patches:
        if not request["is_real"]:
            patches.enter_context(stand_in())
            for (owner, name), value in _SMALL.items():
                patches.enter_context(mock.patch.object(owner, name, value))
        for step, (owner, name) in STEPS.items():
            patches.enter_context(mock.patch.object(owner, name, _told(step, getattr(owner, name), telling, going)))
        try:
            clip_zoo()
        except SystemExit as end:
            code = end.code
        except BaseException:  # noqa: BLE001  the loop that forked must not go on in this process
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)


def _told(step: str, function: Any, telling: int, going: int) -> Any:
    """Return a function that tells of its beginning, waits, and tells of its end."""

    def observed(*arguments: Any, **options: Any) -> Any:
        _tell(telling, step)
        os.read(going, 1)
        try:
            return function(*arguments, **options)
        finally:
            _tell(telling, END)

    return observed


def _tell(telling: int, name: str) -> None:
    os.write(telling, json.dumps([name, time.monotonic()]).encode() + b"\n")


if __name__ == "__main__":
    main()
