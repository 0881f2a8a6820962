"""Translation between the names in files and the canonical names.

The canonical names are those of the PyTorch `state_dict` in transformers 4.57 (`text_model.encoder.layers.0...`). Files
may add the prefixes of a larger model (`clip.`, `model.`, DDP's `module.`, `torch.compile`'s `_orig_mod.`).
transformers 5.6 writes a single tower without its `text_model.` (transformers issue 44431).
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from converters.naming.rules import WORDS, Layout, Row
from converters.naming.transforms import as_scalar, from_stored, to_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from converters.tensors import TensorEntry


class Rule(NamedTuple):
    """A row with its words in braces filled in, for one tensor of a file.

    Attributes:
        canonical: the canonical names of the parameters stored in the tensor, in order.
        in_file: the name in the file.
        transform: the name of the transform of the values.
    """

    canonical: tuple[str, ...]
    in_file: str
    transform: str


def layout_of(names: Iterable[str], layouts: Sequence[Layout]) -> Layout:
    """Return the layout that explains most of the names in a file; the first of several with equal counts.

    Args:
        names: the names in the file.
        layouts: the known layouts; see `converters.formats.layouts`.
    """
    names = list(names)

    def explained(layout: Layout) -> int:
        if layout.is_canonical:
            bare = [canonical for canonical, _ in _canonical_pairs(names)]
        else:
            bare = [bare_name(layout, name) for name in names]
        return sum(_rule_of_file_name(layout, name) is not None for name in bare)

    counts: dict[Layout, int] = {}
    for layout in layouts:
        counts[layout] = explained(layout)
        if counts[layout] == len(names):  # no other layout can explain more
            return layout
    return max(layouts, key=counts.__getitem__)


def bare_name(layout: Layout, name: str) -> str:
    """Return a name in a file without its prefixes of model and scope, and without its suffix."""
    if layout.is_canonical:
        return name
    name = name.removesuffix(layout.suffix)
    if layout.separator == "/" and "/" not in name:
        name = name.replace(".", "/")  # Flax's names in safetensors
    segments = name.split(layout.separator)
    for place, segment in enumerate(segments):
        if segment in _roots(layout):
            return layout.separator.join(segments[place:])
    return name


def to_canonical(entries: Mapping[str, TensorEntry], layout: Layout) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """Return the tensors of a file by canonical name, and the name of each in the file.

    Tensors that are not in the table keep their names; the caller reports them.

    Raises:
        ValueError: two tensors of the file are the same parameter, or a tensor has an impossible shape.
    """
    if layout.is_canonical:
        in_file = canonical_names(entries)
        return {name: _scalar(name, entries[source]) for name, source in in_file.items()}, in_file
    found: dict[str, TensorEntry] = {}
    in_file = {}
    for source, entry in entries.items():
        bare = bare_name(layout, source)
        if bare.rpartition(layout.separator)[2] in {*layout.constants, *_CONSTANTS}:
            continue
        rule = _rule_of_file_name(layout, bare)
        parts = {source: entry} if rule is None else _from_file(rule, source, entry)
        for name, part in parts.items():
            if name in found:
                raise ValueError(f"{in_file[name]} and {source} are both the parameter {name}; keep only one")
            found[name], in_file[name] = _scalar(name, part), source
    return found, in_file


def to_file(tensors: Mapping[str, TensorEntry], layout: Layout) -> dict[str, TensorEntry]:
    """Return canonical tensors in a layout, by their names in it.

    Raises:
        ValueError: the layout cannot store a tensor, or stores it together with one that is missing.
    """
    if layout.is_canonical:
        return dict(tensors)
    rules: dict[str, Rule] = {}
    for name in tensors:
        rule = _rule_of_canonical_name(layout, name)
        if rule is None:
            raise ValueError(f"{layout.name}'s layout cannot store {name}")
        missing = [part for part in rule.canonical if part not in tensors]
        if missing:
            raise ValueError(f"{layout.name}'s layout stores {name} together with {missing[0]}, which is missing")
        rules[rule.in_file] = rule
    return {name: _to_file(rule, [tensors[part] for part in rule.canonical]) for name, rule in rules.items()}


def _from_file(rule: Rule, source: str, entry: TensorEntry) -> dict[str, TensorEntry]:
    if rule.canonical == (LOGIT_SCALE,) and entry.shape == ():
        return {LOGIT_SCALE: entry}  # whatever shape the layout has for it
    parts = from_stored(entry, rule.transform)
    if parts is None:
        raise ValueError(f"{source} has shape {entry.shape}, which is impossible for {', '.join(rule.canonical)}")
    return dict(zip(rule.canonical, parts, strict=True))


def _scalar(name: str, entry: TensorEntry) -> TensorEntry:
    """Return a temperature stored as a vector of one element as a scalar; any other tensor unchanged."""
    return as_scalar(entry) if name == LOGIT_SCALE and entry.shape == (1,) else entry


def _to_file(rule: Rule, parts: list[TensorEntry]) -> TensorEntry:
    if len({part.dtype for part in parts}) > 1:
        raise ValueError(f"{', '.join(rule.canonical)} are stored as one tensor and need the same dtype")
    return to_stored(parts, rule.transform)


@cache
def _rule_of_file_name(layout: Layout, name: str) -> Rule | None:
    for row in layout.rows:
        match = _pattern(row.in_file).fullmatch(name)
        if match:
            return _filled(row, match)
    return None


@cache
def _rule_of_canonical_name(layout: Layout, name: str) -> Rule | None:
    for row in layout.rows:
        for part in row.parts:
            match = _pattern(part).fullmatch(name)
            if match:
                return _filled(row, match)
    return None


def _filled(row: Row, match: re.Match[str]) -> Rule:
    words = match.groupdict()
    return Rule(tuple(part.format(**words) for part in row.parts), row.in_file.format(**words), row.transform)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", pattern)  # text and words alternate
    return re.compile(
        "".join(f"(?P<{piece}>{WORDS[piece]})" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces))
    )


@cache
def _roots(layout: Layout) -> frozenset[str]:
    """Return the first segments of the layout's names."""
    firsts = {row.in_file.split(layout.separator)[0] for row in layout.rows}
    return frozenset(
        root for first in firsts for root in (WORDS[first[1:-1]].split("|") if first.startswith("{") else [first])
    )


# The canonical name of the temperature, a scalar. TensorFlow's files and some of open_clip's store a vector.
LOGIT_SCALE = "logit_scale"

# The first segments of canonical names.
ROOTS = frozenset({"text_model", "vision_model", "text_projection", "visual_projection", "logit_scale", "classifier"})

# The first segments inside a tower, and the parameters that identify each tower.
_TOWER_SEGMENTS = frozenset({"embeddings", "encoder", "final_layer_norm", "pre_layrnorm", "post_layernorm"})
_TELLTALES = {"token_embedding": "text_model", "patch_embedding": "vision_model"}

# Position indices in old checkpoints: constants, not parameters.
_CONSTANTS = ("position_ids",)

# The tensors beside the vision tower in Stable Diffusion's safety checker.
SAFETY_CHECKER = frozenset(
    {"concept_embeds", "concept_embeds_weights", "special_care_embeds", "special_care_embeds_weights"}
)


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names in a file by canonical name, without constants; unknown names are kept.

    Raises:
        ValueError: two names in the file are the same parameter.
    """
    found: dict[str, str] = {}
    for canonical, name in _canonical_pairs(names):
        if canonical in found:
            raise ValueError(f"{found[canonical]} and {name} are both the parameter {canonical}; keep only one")
        found[canonical] = name
    return found


def _canonical_pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the canonical name and the name in the file of every tensor except constants."""
    names = [name for name in names if name.rpartition(".")[2] not in _CONSTANTS]
    towers = _flat_towers(names)
    return [(_canonical_name(name, towers), name) for name in names]


def _canonical_name(name: str, towers: dict[str, str]) -> str:
    segments = name.split(".")
    # A root comes first, because a larger model may hold CLIP under the name of a tower's part, such as `encoder`.
    for place, segment in enumerate(segments):
        if segment in ROOTS:
            # A model that holds a tower under the tower's own name repeats that name.
            is_repeated = segments[place + 1 : place + 2] == [segment]
            return ".".join(segments[place + is_repeated :])
    for place, segment in enumerate(segments):
        prefix = ".".join(segments[:place])
        if segment in _TOWER_SEGMENTS and prefix in towers:
            return ".".join([towers[prefix], *segments[place:]])
    return name


def _flat_towers(names: Iterable[str]) -> dict[str, str]:
    """Return the prefixes of towers that are stored without their own name, with the name of each tower."""
    towers = {}
    for name in names:
        segments = name.split(".")
        if "embeddings" in segments and not ROOTS & set(segments):
            place = segments.index("embeddings")
            tower = _TELLTALES.get(segments[place + 1]) if place + 1 < len(segments) else None
            if tower is not None:
                towers[".".join(segments[:place])] = tower
    return towers
