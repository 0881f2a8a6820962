"""Small changes to a module's source. Each should change a number that `clip-zoo verify` compares."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The files of a backend that compute numbers.
FILES = ("attention", "layers", "text", "vision", "model", "plan", "loss")

_SWAPPED_COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.GtE],
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.LtE],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
_SWAPPED_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
# Keywords that affect no number: the device, as the proof runs on the CPU (tests/gpu runs on others), and warnings.
_NO_NUMBERS = ("device", "warns")


@dataclass(frozen=True)
class Mutation:
    """A changed module.

    Attributes:
        function: the qualified name of the function or class in which the change is; "" at the module's level.
        line: the line of the change in the original.
        statement: the lines of its statement, without those of statements inside it; empty outside of functions, where
            the code runs on import.
        code: that line of the original.
        change: the original code and the new one, as one line.
        original: the source of the module.
        place: the index of the changed node among those that can be mutated.
        choice: the index of the new node among its alternatives.
    """

    function: str
    line: int
    statement: range
    code: str
    change: str
    original: str
    place: int
    choice: int

    @property
    def source(self) -> str:
        """Source of the changed module."""
        tree = ast.parse(self.original)
        target, *_ = list(_places(tree))[self.place]
        _Replace(target, _alternatives(target)[self.choice]).visit(tree)
        return ast.unparse(ast.fix_missing_locations(tree))


def mutations(source: str) -> Iterator[Mutation]:
    """Yield every mutation of a module.

    Docstrings, strings, annotations, decorators, imports, errors and warnings affect no number and are left unchanged.
    """
    lines = source.splitlines()
    for place, (node, function, statement) in enumerate(_places(ast.parse(source))):
        code = lines[node.lineno - 1].strip()
        for choice, new in enumerate(_alternatives(node)):
            change = f"{_text(node)} -> {_text(new)}"
            yield Mutation(function, node.lineno, statement, code, change, source, place, choice)


def _places(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str, range]]:
    """Yield the nodes that can be mutated, in the order of the source, with their functions and statements' lines."""
    stack: list[tuple[ast.AST, str, range, bool]] = [(tree, "", range(0), False)]
    while stack:
        node, function, lines, runs_later = stack.pop()
        if _decides_no_number(node):
            continue
        if isinstance(node, ast.stmt):
            lines = _own_lines(node) if runs_later else range(0)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            function = f"{function}.{node.name}".removeprefix(".")
        if _alternatives(node):
            yield node, function, lines  # type: ignore[misc]
        for child in reversed(_children(node)):
            inside = isinstance(node, ast.FunctionDef) and isinstance(child, ast.stmt)
            stack.append((child, function, lines, runs_later or inside))


def _own_lines(statement: ast.stmt) -> range:
    """Return the lines of a statement, without those of the statements inside it."""
    body: list[ast.stmt] = getattr(statement, "body", [])
    end = body[0].lineno if body else (statement.end_lineno or statement.lineno) + 1
    return range(statement.lineno, max(end, statement.lineno + 1))


def _children(node: ast.AST) -> list[ast.AST]:
    """Return the parts of a node that are computed when the module or function runs."""
    if isinstance(node, ast.FunctionDef):
        return [*node.args.defaults, *(default for default in node.args.kw_defaults if default), *node.body]
    if isinstance(node, ast.ClassDef):
        return list(node.body)
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    return list(ast.iter_child_nodes(node))


def _decides_no_number(node: ast.AST) -> bool:
    if isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.Expr):  # a docstring, or a call on its own
        return isinstance(node.value, ast.Constant) or _decides_no_number(node.value)
    if isinstance(node, ast.If):  # a guard that raises, checks or warns, or imports for annotations only
        checking = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return checking or (not node.orelse and all(map(_decides_no_number, node.body)))
    if isinstance(node, ast.keyword):
        return node.arg in _NO_NUMBERS
    if isinstance(node, ast.Call):  # checks and warnings, and casts of types
        name = ast.unparse(node.func).rpartition(".")[2]
        return name.startswith(("check_", "warn", "_check", "_warn", "TypeVar")) or name == "add_positions"
    return False


def _alternatives(node: ast.AST) -> list[ast.AST]:  # noqa: C901, PLR0911, PLR0912  one case for each kind of node
    """Return what to put in place of a node, one at a time."""
    match node:
        case ast.Constant(value=bool(value)):
            return [ast.Constant(not value)]
        case ast.Constant(value=int(value)):
            return [ast.Constant(value + 1)]
        case ast.Constant(value=float(value)):
            return [ast.Constant(value * 1.5 if value else 1.0)]
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return [ast.Compare(left, [new()], [right]) for new in _SWAPPED_COMPARISONS[type(operator)]]
        case ast.BoolOp(op=operator, values=values):
            return [ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int())):  # axis -1 of two is axis 1
            return [ast.Constant(0)]
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            return [operand]
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _SWAPPED_OPERATORS:
            return [ast.BinOp(left, _SWAPPED_OPERATORS[type(operator)](), right)]
        case ast.IfExp(body=body, orelse=otherwise):
            return [body, otherwise]
        case ast.If(body=body, orelse=otherwise):
            return [ast.If(constant, body, otherwise) for constant in (ast.Constant(True), ast.Constant(False))]
        case ast.Call(func=function, args=arguments, keywords=[_, *_] as keywords):
            dropped = [one for one in keywords if one.arg and not _decides_no_number(one)]
            return [ast.Call(function, arguments, [other for other in keywords if other is not one]) for one in dropped]
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            return [ast.Pass()]
        case ast.Slice(lower=lower, upper=upper, step=step):
            found = [ast.Slice(None, upper, step)] if lower else []
            return [*found, ast.Slice(lower, None, step)] if upper else found
    return []


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _text(node: ast.AST) -> str:
    """Return the first line of a node's code; of an `if`, only its condition."""
    shown = node.test if isinstance(node, ast.If) else node
    return ast.unparse(shown).splitlines()[0] if not isinstance(node, ast.If) else f"if {ast.unparse(shown)}"
