"""Imports between packages: each is imported alone in a fresh interpreter, to see what else is loaded."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter

import pytest

from support.checkpoints import odd_config, save_checkpoint
from support.imports import PACKAGES, ROOT, circle_in, import_graph, is_package, modules_of, source_of

FRAMEWORKS = {"torch", "tensorflow", "keras", "tf_keras", "jax", "flax", "optax"}
ABSENT = {
    "clip_core": FRAMEWORKS | PACKAGES - {"clip_core"} | {"transformers"},
    "converters": FRAMEWORKS | PACKAGES - {"clip_core", "converters"} | {"transformers"},
    "clip_torch": FRAMEWORKS - {"torch"} | {"clip_tf", "clip_flax", "transformers"},
    "clip_tf": {"torch", "jax", "flax", "clip_torch", "clip_flax", "transformers"},
    "clip_flax": {"torch", "tensorflow", "keras", "clip_torch", "clip_tf", "transformers"},
}
OF_EXTRAS = {"faiss", "ray"}  # imported only where they are used

# Packages that only texts need.
UNUSED = {"tokenizers", "regex", "ftfy"}


def modules_after(code: str) -> set[str]:
    """Return the top-level names in sys.modules of a fresh interpreter that ran `code`."""
    program = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("package", ABSENT)
def test_importing_all_of_a_package_loads_nothing_of_the_floors_above_or_beside(package):
    loaded = modules_after("\n".join(f"import {module}" for module in modules_of(package)))
    assert package in loaded
    assert not loaded & (ABSENT[package] - loaded_by_itself(package) | OF_EXTRAS)


def loaded_by_itself(package: str) -> set[str]:
    """Return the other frameworks that a package's own framework imports; TensorFlow looks for JAX."""
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
    """Return the packages that a module imports at its top, not inside functions or for type checkers alone."""
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


def test_a_circle_is_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_file_imports_itself_through_others():
    assert " -> ".join(circle_in(import_graph())) == ""


# Beside what is counted: the package itself, the mark of its types for type checkers, and what Python leaves behind.
NOT_COUNTED = {"__init__.py", "py.typed", "__pycache__"}


@pytest.mark.parametrize("package", ["clip_core", "converters"])
def test_the_top_of_a_package_fits_on_one_screen(package):
    entries = {path.name for path in (ROOT / package).iterdir()} - NOT_COUNTED
    assert len(entries) <= 14, sorted(entries)


# Fragments that stay apart, each with its reason.
APART: dict[str, str] = {}


def fragments(graph: dict[str, set[str]]) -> set[str]:
    """Return the modules under 60 lines that one other file imports, or none but their package.

    Modules that nothing imports are called by name: the subcommands of clip-zoo, and entry points.
    """
    short = {module for module in graph if len(source_of(module).splitlines()) < 60 and not is_package(module)}
    importers = {module: {other for other in graph if module in graph[other]} for module in short}
    return {name for name, others in importers.items() if others and len(others - {name.rpartition(".")[0]}) < 2}


def test_no_fragment_serves_one_neighbour_alone():
    assert fragments(import_graph()) == APART.keys()


def lines_in(folder: str) -> dict[str, int]:
    """Return the number of lines of each file of Python in a folder."""
    files = (ROOT / folder).rglob("*.py")
    return {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files}


@pytest.mark.parametrize("folder", sorted({*PACKAGES, "tests", "benchmarks", "examples"}))
def test_no_file_is_too_long_to_read(folder):
    assert {file: count for file, count in lines_in(folder).items() if count > 320} == {}


@pytest.mark.parametrize(("package", "limit"), [("clip_torch", 1050), ("clip_tf", 1150), ("clip_flax", 1150)])
def test_a_whole_model_is_read_in_one_sitting(package, limit):
    files = ("plan", "attention", "layers", "text", "vision", "model")
    assert sum(len((ROOT / package / f"{file}.py").read_text().splitlines()) for file in files) <= limit


MIRRORS = [("core", "clip_core"), ("conversion", "converters")]


@pytest.mark.parametrize(("tests", "package"), MIRRORS)
def test_every_room_of_a_package_has_tests_in_a_room_of_its_name(tests, package):
    rooms = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert {path.parent.name for path in (ROOT / "tests" / tests).glob("*/test_*.py")} == rooms


# Tests of one backend; what several backends do alike is tested once, in tests/models.
OWN = ("tests/models_torch", "tests/models_tf", "tests/models_flax")


def _tests_in(folder: str) -> set[str]:
    trees = (ast.parse(file.read_text()) for file in (ROOT / folder).glob("test_*.py"))
    return {node.name for tree in trees for node in tree.body if getattr(node, "name", "").startswith("test_")}


def test_no_two_backends_have_a_test_of_the_same_name():
    suites = [_tests_in(folder) for folder in ("tests/models", *OWN)]
    assert all(suites)
    counts = Counter(name for suite in suites for name in suite)
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_suites_of_single_backends_stay_small():
    assert sum(sum(lines_in(folder).values()) for folder in OWN) <= 2950


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


def drawn_tree(text: str) -> dict[str, set[str]]:
    """Return the folders of a tree, as CONTRIBUTING.md draws it, with the files that it names in each.

    A line that starts with folders, each with a slash, opens them; what is named on it and on the lines below that are
    indented further is in them.
    """
    found: dict[str, set[str]] = {}
    opened: list[tuple[int, list[str]]] = [(-1, [""])]
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        while indent <= opened[-1][0]:
            opened.pop()
        if names := re.match(r"(?:[\w.]+/ *)+(?= |$)", line.lstrip()):
            parents = opened[-1][1]
            opened.append((indent, [f"{parent}{name}" for parent in parents for name in names[0].split()]))
        for folder in opened[-1][1]:
            found.setdefault(folder, set()).update(re.findall(r"[\w.]+\.py\b", line))
    return found


def test_a_tree_is_read_as_it_is_drawn():
    tree = """
core/
    cli.py      the command
    room/       two files: a.py,
                b.py (as in b)
        inner/  c.py
one/  two/      twins
    d.py
two/            alone: e.py
"""
    assert drawn_tree(tree) == {
        "": set(),
        "core/": {"cli.py"},
        "core/room/": {"a.py", "b.py"},
        "core/room/inner/": {"c.py"},
        "one/": {"d.py"},
        "two/": {"d.py", "e.py"},
    }


def files_by_folder(package: str) -> dict[str, set[str]]:
    """Return the names of a package's files by folder, without those that start with an underscore."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / package).rglob("*.py"):
        found.setdefault(f"{path.parent.relative_to(ROOT)}/", set()).add(path.name)
    return {folder: {name for name in names if not name.startswith("_")} for folder, names in found.items()}


def test_the_tree_of_the_contributors_names_every_file_and_none_besides():
    (tree,) = re.findall(r"## The tree\n\n```\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    drawn = drawn_tree(tree)
    for package in sorted(PACKAGES):
        folders = {folder: names for folder, names in drawn.items() if folder.startswith(f"{package}/")}
        assert folders == files_by_folder(package)
    assert [folder for folder in drawn if not (ROOT / folder).is_dir()] == []
