"""Each framework runs in a separate process, whose failure is that framework's result."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from clip_torch import inference
from clip_torch.backend import backend as torch_backend
from converters.verification.runs import as_loaded
from converters.verification.verify import verify
from support.programs import wait_until

ROOT = Path(__file__).parents[3]

CRASHING = """
import os, signal
from clip_core.backends import Backend

def trace(source, inputs, **keywords):
    {body}

backend = Backend(load=None, trace=trace, train=None, return_tensors="np", versions=dict)
"""


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Install a backend "broken" whose trace runs the given lines."""

    def install(body):
        site = tmp_path / "site"
        (site / "broken-1.0.dist-info").mkdir(parents=True)
        (site / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
        (site / "broken-1.0.dist-info" / "entry_points.txt").write_text(
            "[clip_zoo.backends]\nbroken = broken_backend:backend\n"
        )
        (site / "broken_backend.py").write_text(CRASHING.format(body=body))
        monkeypatch.syspath_prepend(str(site))
        assert "broken" in {point.name for point in entry_points(group="clip_zoo.backends")}

    return install


def test_frameworks_in_processes_of_their_own_give_what_they_give_in_one(model):
    frameworks = ["reference", "torch"]
    alone = verify(model, backends=frameworks, gradients=True)
    together = verify(model, backends=frameworks, gradients=True, own_processes=False)
    assert alone.passed
    assert [(one.stage, one.pair) for one in alone.comparisons] == [
        (one.stage, one.pair) for one in together.comparisons
    ]
    assert alone.versions == together.versions


def test_a_model_prepared_for_inference_has_a_run_of_its_own_without_gradients(model):
    result = verify(model, backends=["reference", "torch"], gradients=True, explain=True, own_processes=False)
    assert result.passed
    prepared = ["torch prepared"] if torch_backend.prepares("float32") else []
    assert result.runs == ["reference", "torch", *prepared]
    stages = {run: {one.stage for one in result.comparisons if one.pair == ("reference", run)} for run in result.runs}
    assert any(stage.startswith("gradient.") for stage in stages["torch"])
    for run in prepared:
        differentiated = ("gradient.", "explanation.", "differences.")
        assert stages[run] == {stage for stage in stages["torch"] if not stage.startswith(differentiated)}


def test_a_fault_of_a_prepared_model_alone_is_found(model, monkeypatch):
    if not torch_backend.prepares("float32"):
        pytest.skip("this build of PyTorch has no oneDNN, so no model is prepared")
    monkeypatch.setitem(inference._FUSED, "gelu", ("relu", "", 1.0))
    result = verify(model, backends=["reference", "torch"], own_processes=False)
    assert result.first_drift == "text.layers.0"
    assert result.suspect == "torch prepared"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("os._exit(7)", "7"),
        ("raise RuntimeError('out of device memory')", "out of device memory"),
    ],
)
def test_a_death_is_the_result_of_the_framework_that_died(model, plug_in, body, told):
    plug_in(body)
    result = verify(model, backends=["reference", "broken", "torch"])
    assert result.backends == ["reference", "broken", "torch"]
    assert list(result.failures) == ["broken"]
    assert told in result.failures["broken"]
    assert not result.passed
    assert "broken" in result.verdict()
    assert {as_loaded(run) for one in result.comparisons for run in one.pair} == {"reference", "torch"}
    assert all(one.passed for one in result.comparisons)
    assert result.to_dict()["failures"] == result.failures


BUSY = """import fcntl, time
    lock = open({file!r}, "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    open({file!r} + ".locked", "w").close()
    {work}"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGKILL nor flock")
@pytest.mark.parametrize("work", ["time.sleep(600)", "while True: sum(range(1000))"])
def test_a_framework_does_not_outlive_a_killed_verify(model, plug_in, tmp_path, work):
    import fcntl

    file = tmp_path / "lock"
    plug_in(BUSY.format(file=str(file), work=work))
    command = [sys.executable, "-m", "clip_core.cli", "verify", str(model), "--backend", "broken", "reference"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])}
    verifying = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "lock.locked").exists)
    finally:
        verifying.kill()
        verifying.wait()

    def is_free():
        with file.open() as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    wait_until(is_free)


def test_a_framework_that_fails_to_import_is_reported_and_not_left_out(model, plug_in, tmp_path):
    plug_in("pass")
    (tmp_path / "site" / "broken_backend.py").write_text("raise OSError('libcudart.so.12 is missing')")
    result = verify(model, backends=["reference", "broken"])
    assert list(result.failures) == ["broken"]
    assert "libcudart.so.12" in result.failures["broken"]
    assert not result.passed


@pytest.mark.parametrize("error", ["ValueError", "OSError", "ImportError"])
def test_bad_input_is_the_same_error_as_in_this_process(model, plug_in, error):
    plug_in(f"raise {error}('no such thing: 4711')")
    with pytest.raises({"ValueError": ValueError, "OSError": OSError, "ImportError": ImportError}[error], match="4711"):
        verify(model, backends=["reference", "broken"])


def test_no_framework_is_loaded_into_the_callers_process(model, run_program):
    program = (
        "import sys; from converters.verification.verify import verify\n"
        "result = verify(sys.argv[1], backends=['reference', 'torch', 'flax'])\n"
        "print(result.passed, {'torch', 'jax', 'flax', 'tensorflow'} & sys.modules.keys())"
    )
    assert run_program(program, model).split() == ["True", "set()"]
