"""Who imports whom: each package is imported alone, in a fresh interpreter, and what came along is looked at."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from support.checkpoints import odd_config, save_checkpoint

ROOT = Path(__file__).parents[1]
FRAMEWORKS = {"torch", "tensorflow", "keras", "tf_keras", "jax", "flax", "optax"}
PACKAGES = {"clip_core", "converters", "clip_torch", "clip_tf", "clip_flax"}
ABSENT = {
    "clip_core": FRAMEWORKS | PACKAGES - {"clip_core"} | {"transformers"},
    "converters": FRAMEWORKS | PACKAGES - {"clip_core", "converters"} | {"transformers"},
    "clip_torch": FRAMEWORKS - {"torch"} | {"clip_tf", "clip_flax", "transformers"},
    "clip_tf": {"torch", "jax", "flax", "clip_torch", "clip_flax", "transformers"},
    "clip_flax": {"torch", "tensorflow", "keras", "clip_torch", "clip_tf", "transformers"},
}

# What only texts need.
UNUSED = {"tokenizers", "regex", "ftfy"}


def modules_after(code: str) -> set[str]:
    """The top-level names in sys.modules of a fresh interpreter that ran `code`."""
    program = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.splitlines()[-1].split())


def modules_of(package: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    return [str(file.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__") for file in files]


@pytest.mark.parametrize("package", ABSENT)
def test_importing_all_of_a_package_loads_nothing_of_the_floors_above_or_beside(package):
    loaded = modules_after("\n".join(f"import {module}" for module in modules_of(package)))
    assert package in loaded
    assert not loaded & (ABSENT[package] - loaded_by_itself(package))


def loaded_by_itself(package: str) -> set[str]:
    """What a package's framework imports of the others of its own accord: TensorFlow looks for JAX."""
    return modules_after("import keras") if package == "clip_tf" else set()


def test_the_command_line_starts_without_a_framework():
    code = """
from clip_core.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
print()
"""
    loaded = modules_after(code)
    assert "clip_core" in loaded
    assert not loaded & (FRAMEWORKS | {"PIL", "tokenizers", "huggingface_hub", "numpy"})


def test_looking_at_a_checkpoint_loads_no_framework(tmp_path):
    save_checkpoint(tmp_path, odd_config())
    code = f"""
from clip_core.cli import main
try:
    main(["inspect", {str(tmp_path)!r}])
except SystemExit as end:
    assert end.code == 0
print()
"""
    loaded = modules_after(code)
    assert "converters" in loaded
    assert not loaded & (FRAMEWORKS | UNUSED | {"huggingface_hub", "rich"})


@pytest.mark.parametrize("package", ["clip_torch", "clip_tf", "clip_flax"])
def test_a_backend_starts_without_what_models_do_not_need_and_has_it_when_it_is_asked_for(package):
    code = f"""
import sys
import {package}
early = {UNUSED} & sys.modules.keys()
from {package} import *
assert CLIPProcessor is __import__("clip_core").CLIPProcessor
assert set({package}.__all__) <= set(dir({package})) & globals().keys()
assert not hasattr({package}, "CLIPTokeniser")
print(early)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.splitlines()[-1] == "set()"


def module_level_imports(tree: ast.Module) -> set[str]:
    """Packages imported when the module is: not inside functions, and not for type checkers alone."""
    found: set[str] = set()
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


@pytest.mark.parametrize("package", ["clip_core", "converters"])
def test_no_module_below_the_backends_names_a_framework_at_its_top(package):
    for file in (ROOT / package).rglob("*.py"):
        imported = module_level_imports(ast.parse(file.read_text()))
        assert not imported & ABSENT[package], file
