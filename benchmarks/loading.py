"""Row 2: loading a 605 MB ViT-B/32, beside transformers 4.57.6 and safetensors: time and peak memory.

The features that each library computes from the weights are compared first. Then each loads them in turn, in a fresh
process that has already loaded a tiny checkpoint, so that imports and first uses are not counted. Memory-mapped weights
are paged in within the measured time. Memory is the peak of resident bytes, including mapped files, above what the
process held before. Weights are random.

`flax_model.msgpack` into Flax and `tf_model.h5` into TensorFlow hold the same weights in the framework's own layout,
which is read without transposing.

Targets: PyTorch within 1.3 times `safetensors.torch.load_file` and a bare module to assign to, a framework's own file
within 1.2 times of safetensors into the same framework, and a peak of at most 1.1 times the file in every framework.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from checkpoints import write_random
from fresh import in_turns, peak_memory, run, spread
from goals import Goal, at_most
from interleaved import Ratio
from plots import bars
from report import Report, Table

from clip_core.configuration import CLIPConfig
from converters.conversion import convert
from converters.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

    from settings import Settings

    Load = Callable[[str], Any]

REPEATS = 5
SAME = 1e-5  # of features of unit norm, across frameworks
TINY = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
INPUTS: dict[str, np.ndarray] = {
    "text": np.array([[49406, 320, 1125, 539, 320, 2368, 49407]]),
    "image": np.linspace(-2, 2, 3 * 224 * 224, dtype=np.float32).reshape(1, 3, 224, 224),
}


def ours(backend: str) -> Load:
    """Return our `from_pretrained`."""
    load: Load = import_module(f"clip_{backend}").CLIPModel.from_pretrained
    return load


def peers(backend: str) -> Load:
    """Return the `from_pretrained` of transformers."""
    import torch  # noqa: F401  must precede TensorFlow, which crashes otherwise
    import transformers

    model_class = getattr(transformers, {"torch": "", "tf": "TF", "flax": "Flax"}[backend] + "CLIPModel")

    def load(folder: str) -> Any:
        from_pt = backend != "torch" and (Path(folder) / "model.safetensors").is_file()
        return model_class.from_pretrained(folder, **({"from_pt": True} if from_pt else {}))

    return load


def bare(_backend: str) -> Load:
    """Return plain safetensors loading, assigned to a module on the meta device."""
    import torch
    from safetensors.torch import load_file

    import clip_torch

    def load(folder: str) -> Any:
        with torch.device("meta"):
            model = clip_torch.CLIPModel(CLIPConfig.from_pretrained(folder))
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"), assign=True)
        return model.eval()

    return load


LIBRARIES = {"clip-zoo": ours, "transformers": peers, "safetensors": bare}


class Case(NamedTuple):
    """A library that loads a file format into a framework; the formats are those of `converters.formats.FORMATS`."""

    library: str
    backend: str
    format: str = "safetensors"

    @property
    def name(self) -> str:
        """The name of its row."""
        file = next(one.file for one in FORMATS if one.name == self.format)
        return f"{self.library} in {self.backend}" + (f" of {file}" if self.format != "safetensors" else "")


CASES = [
    *(Case(library, "torch") for library in LIBRARIES),
    *(Case(library, "tf", file) for file in ("safetensors", "tf") for library in ("clip-zoo", "transformers")),
    *(Case(library, "flax", file) for file in ("safetensors", "flax") for library in ("clip-zoo", "transformers")),
]


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check loads into PyTorch only."""
    cases = [case for case in CASES if not settings.quick or case.backend == "torch"]
    found = rows(cases, settings.scratch, 1 if settings.quick else REPEATS)
    written = Report("loading", "Loading a 605 MB ViT-B/32", __doc__ or "", quick=settings.quick)
    written.tables = [Table(["loading", "s", "peak, MB (relative to the file)"], [cells(one) for one in found])]
    written.measurements = found
    written.goals = goals(found)
    written.plot = partial(draw, found)
    return written


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot the seconds of each library."""
    values = {one["name"].replace("clip-zoo", "ours"): one["seconds"] for one in measurements}
    bars(path, title="Loading 605 MB", across="s", values=values)


def features(model: Any, backend: str) -> list[list[float]]:
    """Return text and image features of unit norm, for comparing libraries."""
    given: Callable[[np.ndarray], Any] = np.asarray
    if backend == "torch":
        import torch

        torch.set_grad_enabled(False)
        given = torch.from_numpy
    elif backend == "tf":
        import tensorflow as tf

        given = tf.constant
    found = [
        np.asarray(model.get_text_features(given(INPUTS["text"])))[0],
        np.asarray(model.get_image_features(given(INPUTS["image"])))[0],
    ]
    return [(one / np.linalg.norm(one)).tolist() for one in found]


def look_at(model: Any, backend: str) -> None:
    """Touch every page of memory-mapped weights."""
    if backend == "torch":
        for parameter in model.parameters():
            parameter.detach().flatten()[::512].sum().item()


def work(task: str, library: str, backend: str, tiny: str, folder: str) -> None:
    """Print the features, or the seconds and bytes of loading."""
    load = LIBRARIES[library](backend)
    if task == "features":
        print(json.dumps(features(load(folder), backend)))
        return
    look_at(load(tiny), backend)
    before, start = peak_memory(), time.perf_counter()
    model = load(folder)
    look_at(model, backend)
    print(json.dumps([time.perf_counter() - start, peak_memory() - before]))


def result(task: str, case: Case, folder: Path) -> Any:
    """Return the output of a fresh process."""
    tiny, large = folder / "tiny" / case.format, folder / "large" / case.format
    output = run(__file__, task, case.library, case.backend, str(tiny), str(large)).output
    return json.loads(output.splitlines()[-1])


def check_same(cases: list[Case], folder: Path) -> None:
    """Check that all libraries and frameworks compute the same features from their files."""
    first, *others = [np.array(result("features", case, folder)) for case in cases]
    for case, other in zip(cases[1:], others, strict=True):
        difference = np.abs(first - other).max()
        assert difference < SAME, f"{case} is {difference} away from {cases[0]}"


def write_checkpoints(folder: Path, formats: set[str]) -> int:
    """Write a tiny and a large checkpoint in every format, and return the size of the large safetensors file."""
    for name, config in (("tiny", CLIPConfig(TINY, TINY)), ("large", CLIPConfig())):
        source = folder / name / "safetensors"
        write_random(source, config, "5GB")
        for format_ in formats - {"safetensors"}:
            convert(source, folder / name / format_, format_)
    return (folder / "large" / "safetensors" / "model.safetensors").stat().st_size


def rows(cases: list[Case], folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Return one row per case: median time, maximum peak."""
    size = write_checkpoints(folder, {case.format for case in cases})
    check_same(cases, folder)
    works = {case.name: partial(result, "loading", case, folder) for case in cases}
    # PyTorch only maps the file: a tenth of a second has a larger relative spread, and extra turns cost little.
    mapped = {name: work for name, work in works.items() if name.endswith(" in torch")}
    read = {name: work for name, work in works.items() if name not in mapped}
    found = []
    for name, done in {**in_turns(mapped, 3 * repeats), **in_turns(read, repeats)}.items():
        seconds, peaks = [one[0] for one in done], [one[1] for one in done]
        found.append(
            {
                "name": name,
                "seconds": statistics.median(seconds),
                "times": seconds,
                "fastest": min(seconds),
                "spread": spread(seconds),
                "peak": max(peaks),
                "peak_of_file": max(peaks) / size,
            }
        )
    return found


def cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of the row."""
    peak = f"{row['peak'] / 1e6:.0f} ({row['peak_of_file']:.2f})"
    return [row["name"], f"{row['seconds']:.2f} (±{row['spread']:.0%})", peak]


def goals(found: list[dict[str, Any]]) -> list[Goal]:
    """Return the targets: PyTorch against the bare file, own files against safetensors, and memory."""
    times = {row["name"]: row["times"] for row in found}

    def ratio(name: str, other: str) -> Ratio:
        return Ratio(tuple(one / two for one, two in zip(times[name], times[other], strict=True)))

    bare_file = ratio("clip-zoo in torch", "safetensors in torch")
    own_files = [case for case in CASES if case.library == "clip-zoo" and case.format != "safetensors"]
    return [
        at_most("clip-zoo in torch, relative to `load_file` and the bare module", bare_file, 1.3),
        *(
            at_most(f"{case.name}, relative to safetensors", ratio(case.name, f"clip-zoo in {case.backend}"), 1.2)
            for case in own_files
            if case.name in times
        ),
        *(
            at_most(f"Peak of {row['name']}, relative to the file", row["peak_of_file"], 1.1)
            for row in found
            if row["name"].startswith("clip-zoo")
        ),
    ]


if __name__ == "__main__":
    work(*sys.argv[1:])
