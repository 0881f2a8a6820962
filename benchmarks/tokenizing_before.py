"""Texts to ids, compared with an earlier revision: `python benchmarks/tokenizing_before.py [REVISION]`.

Both revisions take turns in one process, once their ids are equal. For that, the earlier `clip_core` is taken out of
git, without a checkout, and gets a name of its own. The default revision is the last one before the tokenizers became
one class with parts; until then, eight classes inherited from one another.
"""

from __future__ import annotations

import argparse
import importlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from harness import COLUMNS, Row, compare
from report import Table
from tokenizing import COUNT, TOKENIZER, random_texts

import clip_core
from clip_core.commands.streams import run_program

ROOT = Path(__file__).parents[1]
BEFORE = "b603e6f33"
KINDS = ("CLIPTokenizer", "CLIPTokenizerFast")


def package_of(revision: str, scratch: Path, repository: Path = ROOT) -> Any:
    """Import the `clip_core` of a revision under another name.

    Args:
        revision: a name of a commit, as git takes it.
        scratch: a folder to write the package to; it stays on the path of imports.
        repository: the checkout.

    Raises:
        ValueError: if the checkout has no such revision, or no history.
    """
    git = ["git", "-C", str(repository)]
    done = subprocess.run([*git, "archive", revision, "clip_core"], capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines() or [f"git ended with {done.returncode}"]
        raise ValueError(f"expected a commit in {repository}, found {revision!r}: {told[-1]}; fetch the whole history")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(scratch, filter="data")
    name = "clip_core_at_" + re.sub(r"\W", "_", revision)
    (scratch / "clip_core").rename(scratch / name)
    for file in (scratch / name).rglob("*.py"):
        file.write_text(re.sub(r"\bclip_core\b", name, file.read_text(encoding="utf-8")), encoding="utf-8")
    sys.path.append(str(scratch))
    return importlib.import_module(name)


def rows(before: Any, revision: str, count: int) -> list[Row]:
    """Compare one text and a padded batch of each class, once their ids are equal."""
    texts, found = random_texts(count), []
    for kind in KINDS:
        ours, theirs = (
            getattr(package, kind).from_pretrained(TOKENIZER, model_max_length=77) for package in (clip_core, before)
        )
        for name, text, options in (("one text", texts[0], {}), (f"{count} texts, padded", texts, {"padding": True})):
            by_us, by_them = partial(ours, text, **options), partial(theirs, text, **options)
            assert dict(by_us()) == dict(by_them())
            found.append(compare(f"{kind}, {name}", by_us, by_them, peer_name=revision, fewest=25))
    return found


def main() -> int:
    """Compare the revisions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", default=BEFORE, help=f"a commit ({BEFORE})")
    parser.add_argument("--texts", type=int, default=COUNT, help=f"texts of the batch ({COUNT})")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            before = package_of(options.revision, Path(scratch))
        except ValueError as error:
            parser.error(str(error))
        found = rows(before, options.revision, options.texts)
    columns = [*COLUMNS, "90 % interval"]
    intervals = [" to ".join(f"{one:.2f}" for one in row.ratio.interval) for row in found]
    print(Table(["texts", *columns], [[*row.cells(), one] for row, one in zip(found, intervals, strict=True)]))
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main, "tokenizing_before.py"))
