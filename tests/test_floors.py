"""Imports between packages: each is imported alone in a fresh interpreter, to see what else is loaded."""

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

# Packages that only texts need.
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
    """The other frameworks that a package's framework imports by itself: TensorFlow looks for JAX."""
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


def import_graph() -> dict[str, set[str]]:
    """Every module of the five packages to those that it imports, inside functions and for type checkers too."""
    modules = {module for package in PACKAGES for module in modules_of(package)}
    return {module: imports_of(module, modules) - {module} for module in modules}


def imports_of(module: str, modules: set[str]) -> set[str]:
    path = ROOT / module.replace(".", "/")
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
    return found & modules


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """A path of imports that leads back to where it began, if there is one."""
    done: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for imported in sorted(graph[module]):
            if circle := search(imported, [*path, module]):
                return circle
        done.add(module)
        return []

    return next((circle for module in sorted(graph) if (circle := search(module, []))), [])


def test_a_circle_is_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_file_imports_itself_through_others():
    assert " -> ".join(circle_in(import_graph())) == ""


@pytest.mark.parametrize("package", ["clip_core", "converters"])
def test_the_top_of_a_package_fits_on_one_screen(package):
    entries = {path.stem for path in (ROOT / package).iterdir() if not path.name.startswith("_")} - {"py"}
    assert len(entries) <= 14, sorted(entries)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_file_is_too_long_to_read(package):
    lines = {str(file): len(file.read_text().splitlines()) for file in (ROOT / package).rglob("*.py")}
    assert {file: count for file, count in lines.items() if count > 320} == {}


@pytest.mark.parametrize(("package", "limit"), [("clip_torch", 1050), ("clip_tf", 1150), ("clip_flax", 1150)])
def test_a_whole_model_is_read_in_one_sitting(package, limit):
    files = ("plan", "attention", "layers", "text", "vision", "model")
    assert sum(len((ROOT / package / f"{file}.py").read_text().splitlines()) for file in files) <= limit


MIRRORS = [("core", "clip_core"), ("conversion", "converters")]


@pytest.mark.parametrize(("tests", "package"), MIRRORS)
def test_every_room_of_a_package_has_tests_in_a_room_of_its_name(tests, package):
    rooms = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert {path.parent.name for path in (ROOT / "tests" / tests).glob("*/test_*.py")} == rooms


def is_named_after(tested: str, sources: set[str]) -> bool:
    """Return True for a source's own name, and for one that goes on, as `verify_matrix` does after `verify`."""
    return any(f"{tested}_".startswith(f"{source}_") for source in sources)


@pytest.mark.parametrize(("tests", "package"), MIRRORS)
def test_a_file_of_tests_has_the_name_of_what_it_tests(tests, package):
    folder, astray = ROOT / "tests" / tests, []
    for file in folder.rglob("test_*.py"):
        room = ROOT / package / file.parent.relative_to(folder)
        sources = {source.stem.lstrip("_") for source in room.glob("*.py")} | {room.name}  # a file, or the whole room
        if not is_named_after(file.stem.removeprefix("test_"), sources):
            astray.append(str(file.relative_to(ROOT)))
    assert astray == [], "name each after a file of the same room, or after the room: test_<file>_<theme>.py"


def test_a_name_goes_on_only_after_a_whole_word():
    assert is_named_after("verify", {"verify"})
    assert is_named_after("verify_matrix", {"verify"})
    assert not is_named_after("verifying", {"verify"})
    assert not is_named_after("matrix", {"verify"})
