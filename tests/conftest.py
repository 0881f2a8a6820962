"""Fixtures that several tests share."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.seconds import LONG, processor_seconds, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.hub_server import HubServer
    from support.oracle import Oracle

# Each test process has its share of the processors: threads that outnumber them wait for each other, which takes
# longer than what a tiny model computes.
PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // PROCESSES)))

# TensorFlow prints its start-up to stderr; nothing there helps a test.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# XLA compiles for seconds what a tiny model computes in microseconds; compiled programs are cached, also for programs
# that a test starts.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.02")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# Nor are they optimized: XLA compiles in half the time, and a tiny model runs as fast. The full-size proof clears this.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# The files that take longest, which start first, so that no process is left alone with one at the end.
SLOW = (
    "conversion/verification/test_verify_full_size.py",
    "conversion/verification/test_verify_matrix.py",
    "parity/test_models.py",
    "training/test_trainers.py",
    "models_tf/test_keras.py",
    "models_flax/test_functional.py",
    "models/test_attention.py",
    "models/test_base.py",
    "conversion/verification/test_verify.py",
    "models/test_text_features.py",
    "test_one_process.py",
    "models/test_backend.py",
    "models/test_compile.py",
    "models_torch/test_compile.py",
    "training/test_flax_distributed.py",
    "training/test_torch_distributed.py",
    "training/test_tf_distributed.py",
)

BEGAN = pytest.StashKey[float]()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the repository with images and a trained checkpoint, if there is one."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (pictures and a trained checkpoint), which is not part of the repository")
    return folder


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """transformers 4.57.6 in a separate process."""
    from support.oracle import Oracle

    process = Oracle()
    yield process
    process.close()


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    """A stand-in for the hub."""
    from support.hub_server import HubServer

    server = HubServer()
    yield server
    server.close()


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """A function that runs clip-zoo in this process, offline, and returns exit code, stdout and stderr."""
    from clip_core.cli import main

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return end.value.code, out, err

    return call


@pytest.fixture
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    """A CLIPModel of the backend that the test's module names, and its folder; the test may change both."""
    from support.configs import tiny_config

    model = request.module.BACKEND.build("CLIPModel", tiny_config())
    model.save_pretrained(tmp_path / "plain")
    return model, tmp_path / "plain"


@pytest.fixture(scope="session")
def run_program() -> Callable[..., str]:
    """A function that runs a program in a fresh interpreter with our packages, and returns its output."""
    from support.programs import environment

    def run(program: str, *arguments: object) -> str:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `backend` once for each."""
    if "backend" in metafunc.fixturenames:
        from support.backends import BACKENDS

        metafunc.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first, then the files with the most tests; within a file the order stays."""
    places = {str(Path(__file__).parent / name): place for place, name in enumerate(SLOW)}
    counts = Counter(str(item.path) for item in items)
    first = {path: index for index, path in enumerate(counts)}

    def place(item: pytest.Item) -> tuple[int, int, int]:
        path = str(item.path)
        return places.get(path, len(SLOW)), -counts[path], first[path]

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what the imports have made: a million objects, at each collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Note when the processor began with a test."""
    item.stash[BEGAN] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Report the processor's seconds with a test's end."""
    report = yield
    if call.when == "teardown":
        report.user_properties.append(("processor", processor_seconds() - item.stash[BEGAN]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests recorded by `record_property("figure", ...)`, and after a long run its seconds."""
    reports = [one for some in terminalreporter.stats.values() for one in some if isinstance(one, pytest.TestReport)]
    tested = [report for report in reports if report.when == "call"]
    for name, figure in (pair for report in tested for pair in report.user_properties):
        if name == "figure":
            terminalreporter.write_line(figure)
    if len(tested) >= LONG:
        terminalreporter.write_line("\n".join(table(reports)))
