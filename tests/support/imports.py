"""The import graph of the five packages, read from source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"clip_core", "converters", "clip_torch", "clip_tf", "clip_flax"}


def modules_of(package: str) -> list[str]:
    """Return the names of all modules of a package."""
    files = sorted((ROOT / package).rglob("*.py"))
    return [str(file.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__") for file in files]


def import_graph() -> dict[str, set[str]]:
    """Return the modules that each module of the five packages imports, inside functions and for type checkers too."""
    modules = {module for package in PACKAGES for module in modules_of(package)}
    return {module: imports_of(module, modules) - {module} for module in modules}


def is_package(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).is_dir()


def source_of(module: str) -> str:
    path = ROOT / module.replace(".", "/")
    return (path / "__init__.py" if is_package(module) else path.with_suffix(".py")).read_text()


def imports_of(module: str, modules: set[str]) -> set[str]:
    tree = ast.parse(source_of(module))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
    return found & modules


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return a path of imports that leads back to where it began, if there is one."""
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
