"""Run transformers' own CLIP tests on its classes and on ours, and compare: `make test-transformers-suite SUITE=...`.

The tests come from a checkout of transformers at the release that is installed; its wheel has none. Those of TensorFlow
and Flax come from a checkout of 4.52.4, `OLDER_SUITE=...`, because later releases lack them. The tests run twice: as
they are, and in a copy that imports the CLIP classes from this library. What passes with transformers has to pass here
too, unless `differences.toml` gives a reason. The exit code is 1 after a difference without a reason, and after a
reason without a difference.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

from clip_core.images import CLIPImageProcessor
from clip_core.processing import CLIPProcessor
from clip_core.tokenization import CLIPTokenizerFast

ROOT = Path(__file__).parents[2]
TABLE = tomllib.loads(Path(__file__).with_name("differences.toml").read_text(encoding="utf-8"))

# The test files, and the package that has their classes here.
PACKAGES = {
    "tokenization_clip": "clip_torch",
    "image_processing_clip": "clip_torch",
    "processing_clip": "clip_torch",
    "modeling_clip": "clip_torch",
    "modeling_tf_clip": "clip_tf",
    "modeling_flax_clip": "clip_flax",
}
# The last release with the tests of TensorFlow and Flax, and the files that they consist of.
OLDER_RELEASE = "4.52.4"
OLDER = {
    "modeling_tf_clip": ["tests/models/clip/test_modeling_tf_clip.py", "tests/test_modeling_tf_common.py"],
    "modeling_flax_clip": ["tests/models/clip/test_modeling_flax_clip.py", "tests/test_modeling_flax_common.py"],
}
# The checkpoint whose tokenizer and image processor the tests load from the hub.
HUB_ID = "openai/clip-vit-base-patch32"
# PyTorch before TensorFlow, as the suite of transformers needs it too. The older tests import decorators that are gone.
PYTEST = """import sys, unittest, torch, pytest
from transformers import CLIPModel, testing_utils
testing_utils.require_tf = testing_utils.require_flax = lambda test: test
testing_utils.require_tf2onnx = unittest.skip("needs tf2onnx")
sys.exit(pytest.main(sys.argv[1:]))"""


def main() -> int:
    """Run the chosen files, print a table and the differences, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suite", type=Path, help="a checkout of transformers")
    parser.add_argument("files", nargs="*", choices=[[], *PACKAGES], metavar="file", help=f"of {', '.join(PACKAGES)}")
    parser.add_argument("--older", type=Path, help=f"a checkout at v{OLDER_RELEASE}, for TensorFlow and Flax")
    arguments = parser.parse_args()
    older: Path | None = arguments.older
    files = arguments.files or [file for file in PACKAGES if older or file not in OLDER]
    check_release(arguments.suite)
    check_older(older, [file for file in files if file in OLDER])
    status = 0
    if missing := PACKAGES.keys() - files:
        print(f"not run: {', '.join(sorted(missing))}")
    print(f"{'test file':<24}{'pass there':>12}{'pass here':>12}{'explained':>12}{'unexplained':>12}")
    with tempfile.TemporaryDirectory(prefix="clip-zoo-suite-") as name:
        theirs, ours = Path(name, "theirs"), Path(name, "ours")
        for folder in (theirs, ours):
            copy_tests(arguments.suite, folder, older)
            write_hub_cache(folder / "hub")
        adapt(ours, files)
        for file in files:
            passing = {test for test, outcome in outcomes(theirs, file).items() if outcome == "passed"}
            here = outcomes(ours, file)
            failing = {test for test in passing if here.get(test) != "passed"}
            explained = set(reasons(file))
            print(
                f"{file:<24}{len(passing):>12}{len(passing - failing):>12}{len(failing & explained):>12}"
                f"{len(failing - explained):>12}",
                flush=True,
            )
            for test in sorted(failing - explained):
                print(f"    {test}: {here.get(test, 'absent')}, and passes with transformers")
            for test in sorted(explained - failing):
                print(f"    {test}: passes here, or not there; remove it from differences.toml")
            status |= failing != explained
    return status


def check_release(suite: Path) -> None:
    """Refuse a checkout without the tests, or of another release than the installed one."""
    installed = importlib.metadata.version("transformers")
    source = suite / "src/transformers/__init__.py"
    found = re.search(r'__version__ = "(.+)"', source.read_text(encoding="utf-8")) if source.exists() else None
    if found is None or not (suite / "tests/models/clip").is_dir():
        sys.exit(f"{suite} is not a checkout of transformers with its tests; clone it at the tag v{installed}")
    if found[1] != installed:
        sys.exit(f"{suite} is transformers {found[1]}, but {installed} is installed; check out the tag v{installed}")


def check_older(older: Path | None, files: list[str]) -> None:
    """Refuse files that need the older checkout if there is none, or if it lacks them."""
    if files and older is None:
        sys.exit(f"{', '.join(files)} needs a checkout at v{OLDER_RELEASE}; name it by OLDER_SUITE= or --older")
    lacking = [path for file in files for path in OLDER[file] if older is not None and not (older / path).is_file()]
    if lacking:
        sys.exit(f"{older} lacks {', '.join(lacking)}; check out the tag v{OLDER_RELEASE}")


def copy_tests(suite: Path, folder: Path, older: Path | None) -> None:
    """Copy the tests of CLIP and what they share, and link what they read; the installed transformers runs them."""

    def others(path: str, names: list[str]) -> set[str]:
        models = Path(path) == suite / "tests/models"
        return {name for name in names if name == "__pycache__" or (models and name not in {"__init__.py", "clip"})}

    shutil.copytree(suite / "tests", folder / "tests", ignore=others)
    if older is not None:
        for path in (path for paths in OLDER.values() for path in paths):
            if (older / path).is_file():
                shutil.copy(older / path, folder / path)
    shutil.copy(suite / "conftest.py", folder)
    for name in ("src", "utils"):
        (folder / name).symlink_to((suite / name).resolve())


def write_hub_cache(cache: Path) -> None:
    """Write the tokenizer and the image processor that the tests load from the hub, with CLIP's own vocabulary."""
    repository = cache / f"models--{HUB_ID.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("0" * 40, encoding="utf-8")
    package = importlib.util.find_spec("open_clip")
    if package is None or package.origin is None:
        sys.exit("open_clip is not installed; the tests need its vocabulary")
    tokenizer = CLIPTokenizerFast.from_pretrained(Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz"))
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(repository / "snapshots" / ("0" * 40))


def adapt(folder: Path, files: list[str]) -> None:
    """Make the tests import our classes, and take what only a check for transformers' own kinds would refuse."""
    for row in TABLE["adaptation"]:
        path = folder / row["file"]
        if not path.exists():  # of TensorFlow or Flax, without the older checkout
            continue
        text = path.read_text(encoding="utf-8")
        if row["old"] not in text:
            sys.exit(f"differences.toml: {row['old']!r} is not in {row['file']}")
        path.write_text(text.replace(row["old"], row["new"]), encoding="utf-8")
    for file in files:
        package = PACKAGES[file]
        path = folder / f"tests/models/clip/test_{file}.py"
        names = set(importlib.import_module(package).__all__)
        path.write_text(with_imports(path.read_text(encoding="utf-8"), package, names), encoding="utf-8")


def with_imports(source: str, package: str, names: set[str]) -> str:
    """Return the code of a test file with these names imported from a package of ours."""

    class Imports(ast.NodeTransformer):
        def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
            if not re.match(r"transformers($|\.models\.clip)", node.module or ""):
                return node
            parts = {
                package: [alias for alias in node.names if alias.name in names],
                node.module: [alias for alias in node.names if alias.name not in names],
            }
            return [ast.ImportFrom(module, aliases, 0) for module, aliases in parts.items() if aliases]

    return ast.unparse(ast.fix_missing_locations(Imports().visit(ast.parse(source))))


def outcomes(folder: Path, file: str) -> dict[str, str]:
    """Run a test file in a process of its own, and return the outcome of every test."""
    report = folder / f"{file}.xml"
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, folder, folder / "utils", *sys.path[1:]))),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", f"tests/models/clip/test_{file}.py"]
    command = [sys.executable, "-c", PYTEST, *options]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if not report.exists() or run.returncode not in {0, 1}:  # 2 and more: pytest could not collect the tests
        sys.exit(f"test_{file}.py did not run:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return outcomes_of(report.read_text(encoding="utf-8"))


def outcomes_of(report: str) -> dict[str, str]:
    """Return the outcome of each test in a report of pytest, by its class and name; the worst if a test has several."""
    found: dict[str, str] = {}
    order = ("passed", "skipped", "failed")
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314  written by the pytest above
        tags = {child.tag for child in case}
        outcome = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        test = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
        found[test] = max(found.get(test, outcome), outcome, key=order.index)
    return found


def reasons(file: str) -> list[str]:
    """Return the tests of a file that differ for a reason."""
    tests = [test for row in TABLE["difference"] if row["file"] == file for test in row["tests"]]
    twice = [test for test, times in Counter(tests).items() if times > 1]
    if twice:
        sys.exit(f"differences.toml: {', '.join(twice)} is there twice")
    return tests


if __name__ == "__main__":
    sys.exit(main())
