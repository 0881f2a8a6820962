"""The declared API: it is importable and documented, and the docs mention nothing else of ours."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("clip_core", "converters", "clip_torch", "clip_tf", "clip_flax")
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
MODULES_THAT_ARE_PUBLIC = ("clip_core.backends", "clip_torch.callbacks")
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
# Names of the first argument of functions that classes take as methods.
RECEIVERS = ("tokenizer", "saveable")
OURS = rf"(?:{'|'.join(PACKAGES)})\b"


def is_package(name):
    return FILES[name].name == "__init__.py"


def declared_in(name):
    """Return the names in a file's `__all__`, read without importing it."""
    for node in ast.parse(FILES[name].read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


PUBLIC = {name: declared_in(name) for name in FILES if is_package(name) or name in MODULES_THAT_ARE_PUBLIC}
PUBLIC = {name: names for name, names in PUBLIC.items() if names}
DECLARED = [(module, name) for module, names in PUBLIC.items() for name in names]


def test_the_packages_that_users_import_declare_what_they_offer():
    tasks = {f"clip_core.{name}" for name in ("tasks", "data", "evaluation", "training", "hub", "backends")}
    assert set(PACKAGES) | tasks <= PUBLIC.keys()
    functions = {"convert", "diff", "inspect", "verify", "open_checkpoint", "Checkpoint", "FORMATS"}
    assert functions <= set(PUBLIC["converters"])


@pytest.mark.parametrize("module", PUBLIC)
def test_every_declared_name_can_be_imported(module):
    found = importlib.import_module(module)
    assert set(PUBLIC[module]) <= set(dir(found))
    for name in PUBLIC[module]:
        assert getattr(found, name) is not None


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_declared_says_that_it_is_internal(name):
    if is_package(name):
        said = ast.get_docstring(ast.parse(FILES[name].read_text())) or ""
        expected = "The names in `__all__` are public; the modules" if name in PUBLIC else "Internal."
        assert expected in said.replace("\n", " ")
    # Any other module is internal, as its package says.
    assert name.rpartition(".")[0] in FILES or name in PACKAGES


def sections_missing(thing):
    """Return the sections that the docstring of a function or class lacks."""
    said = inspect.getdoc(thing) or ""
    if not said:
        return ["a docstring"]
    missing = []
    is_class = inspect.isclass(thing)
    documented = is_class and ("Attributes:" in said or getattr(thing, "_is_protocol", False))
    if arguments(thing) and not documented and not re.search(r"Args:|[Tt]akes the arguments of\s+`[\w.]+`", said):
        missing.append("Args")
    missing += entries_at_fault(thing, said)
    if not is_class:
        returned = inspect.signature(thing).return_annotation
        says_returned = re.search(r"^Return|Returns:|Yields?:|^Yield|and returns the same", said)
        if returned not in {"None", None} and not says_returned:
            missing.append("Returns")
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        if any(isinstance(node, ast.Raise) for node in ast.walk(tree)) and "Raises:" not in said:
            missing.append("Raises")
    return missing


def entries(said, section):
    """Return the names that a section of a docstring describes; None without the section."""
    found = re.search(rf"^{section}:\n((?:    .*\n|\n)*)", said + "\n", re.MULTILINE)
    return found and re.findall(r"^    \*{0,2}(\w+):", found[1], re.MULTILINE)


def entries_at_fault(thing, said):
    """Return the arguments that the docstring's `Args` leaves out, and the entries there that are no argument."""
    described = entries(said, "Args")
    if described is None or (inspect.isclass(thing) and "__init__" not in vars(thing)):
        return []
    taken = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing).parameters
    if re.search(r"^    \*\*\w+: as in `", said, re.MULTILINE):
        return []  # that entry stands for all arguments of another method
    receiver = next((name for name in [*taken][:1] if name in RECEIVERS), None)
    left_out = [f"{name} in Args" for name in arguments(thing) if name not in {*described, receiver}]
    return left_out + [f"no {name} in Args" for name in described if name not in taken]


def arguments(thing):
    """Return the arguments that a caller gives.

    Those of an exception, and of a class that inherits its own, are documented where they are declared.
    """
    if inspect.isclass(thing) and (issubclass(thing, Exception) or "__init__" not in vars(thing)):
        return []
    return [name for name in inspect.signature(thing).parameters if name not in {"self", "cls", "args", "kwargs"}]


@pytest.mark.parametrize(("module", "name"), DECLARED)
def test_every_declared_function_and_class_documents_its_arguments(module, name):
    thing = getattr(importlib.import_module(module), name)
    if isinstance(thing, ModuleType):
        assert thing.__doc__
    elif callable(thing):
        assert sections_missing(thing) == []


def public_methods(cls):
    """Return the public methods of a class that are ours, by the class that defines each.

    An override is documented by the method that it overrides, ours or the framework's.
    """
    for position, owner in enumerate(cls.__mro__):
        if owner.__module__.partition(".")[0] not in PACKAGES:
            continue
        for name, value in vars(owner).items():
            method = getattr(value, "__func__", value)
            overrides = any(name in vars(base) for base in cls.__mro__[position + 1 :])
            if inspect.isfunction(method) and not name.startswith("_") and not overrides:
                yield f"{owner.__module__}.{owner.__qualname__}.{name}", inspect.unwrap(method)


DECLARED_CLASSES = [(module, name) for module, name in DECLARED if name[0].isupper() and not name.isupper()]


@pytest.mark.parametrize(("module", "name"), DECLARED_CLASSES)
def test_every_public_method_of_a_declared_class_documents_its_arguments(module, name):
    thing = getattr(importlib.import_module(module), name)
    methods = public_methods(thing) if inspect.isclass(thing) else ()
    missing = {method: sections_missing(function) for method, function in methods}
    assert {method: sections for method, sections in missing.items() if sections} == {}


def test_a_method_without_sections_would_be_found():
    class Base:
        def documented(self, value: int) -> None:
            """Take a value.

            Args:
                value: a number.
            """

    class Derived(Base):
        def documented(self, value: int) -> None: ...

        @classmethod
        def build(cls, value: int) -> int:
            """Build from a value."""
            raise ValueError(value)

    Base.__module__ = Derived.__module__ = PACKAGES[0]
    assert {name.rpartition(".")[2]: sections_missing(method) for name, method in public_methods(Derived)} == {
        "build": ["Args", "Returns", "Raises"],
        "documented": [],
    }


def test_an_argument_without_an_entry_and_an_entry_without_an_argument_would_be_found():
    def add(first: int, second: int, **options: int) -> int:
        """Return the sum.

        Args:
            first: a number, such as
                first: 1.
            third: another one.
            **options: further numbers.
        """
        return first + second + sum(options.values())

    assert sections_missing(add) == ["second in Args", "no third in Args"]


def is_declared(dotted):
    """True for a public package or module, and for a declared name in one, with or without one of its attributes."""
    if dotted in PUBLIC:
        return True
    parent, _, name = dotted.rpartition(".")
    if name in PUBLIC.get(parent, ()):
        return True
    owner, _, attribute = parent.rpartition(".")
    if attribute not in PUBLIC.get(owner, ()):
        return False
    return hasattr(getattr(importlib.import_module(owner), attribute), name)


def mentioned(text):
    """Return our names: imported in code, in backticks, or dotted anywhere, as in `python -m`."""
    for module, names in re.findall(rf"from ({OURS}[\w.]*) import \(?([\w,\s]+?)(?=[^\w,\s]|\n\w|\Z)", text):
        listed = [name.split(" as ")[0].strip() for name in names.split(",")]
        yield from (f"{module}.{name}" for name in listed if name.isidentifier())
    yield from re.findall(rf"^import ({OURS}[\w.]*)", text, re.MULTILINE)
    yield from re.findall(rf"(?<![\w./-]){OURS}(?:\.\w+)+(?![\w/])", text)
    yield from re.findall(rf"`({OURS}[\w.]*)[^`/]*`", text)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_documentation_mentions_only_what_is_declared(page):
    assert [name for name in mentioned(page.read_text()) if not is_declared(name)] == []


def test_an_undeclared_name_would_be_found():
    text = "from clip_core.tasks.zero_shot import softmax\n`clip_core.tasks.encode_texts(x)` `converters.rules`"
    text += "\n| `torchrun -m clip_core.cli train` | clip_core/cli.py, clip_core.data.open_pairs |"
    text += "\nfrom clip_core.tasks import (\n    encode_images,\n    tokenize,\n)\n"
    undeclared = {"clip_core.tasks.zero_shot.softmax", "clip_core.tasks.zero_shot", "converters.rules", "clip_core.cli"}
    undeclared |= {"clip_core.tasks.tokenize"}
    assert {name for name in mentioned(text) if not is_declared(name)} == undeclared
    assert {"clip_core.tasks.encode_texts", "clip_core.data.open_pairs"} <= set(mentioned(text))
