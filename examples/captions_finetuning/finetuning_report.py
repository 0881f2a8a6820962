"""Report of the runs of `finetune.sh`: retrieval before and after, and the losses of the three frameworks.

    python examples/captions_finetuning/finetuning_report.py build/captioned-emoji/runs examples/captions_finetuning

Writes `results.json` and `curves.png` into the second folder, and prints the tables of the README.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "captioning"))

from command import Parser, answered, run

from clip_core.hub.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RUNS = ("before", "image", "image-crop", "distinct", "distinct-crop", "each", "each-crop")
FRAMEWORKS = ("torch", "tf", "flax")
DIRECTIONS = ("image_to_text", "text_to_image")
RANKS = ("1", "5", "10")
_SMOOTHED = 10  # steps


def read_retrieval(runs: Path) -> dict[str, dict[str, list[float]]]:
    """Return the recall at 1, 5 and 10 in each direction, by run.

    Args:
        runs: the folder of runs.
    """
    found = {}
    for name in RUNS:
        measured = json.loads((runs / name / "retrieval.json").read_text(encoding="utf-8"))
        found[name] = {way: [measured[way]["recall"][rank] for rank in RANKS] for way in DIRECTIONS}
    return found


def read_losses(folder: Path) -> list[float]:
    """Return the loss of each step of a run.

    Args:
        folder: the run's folder.
    """
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines if '"loss"' in line]


def largest_difference(losses: Mapping[str, Sequence[float]]) -> float:
    """Return the largest difference between frameworks in the loss of a step, relative to the loss.

    Args:
        losses: by framework; equally many of each.
    """
    steps = list(zip(*losses.values(), strict=True))
    return max((max(step) - min(step)) / max(step) for step in steps)


def draw_curves(losses: Mapping[str, Sequence[float]], curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Plot the losses of the runs in one framework, and those of one run in each framework.

    Args:
        losses: by run.
        curves: by framework.
        path: the file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in losses.items():
        smooth = [sum(part) / len(part) for part in (values[max(0, i - _SMOOTHED) : i + 1] for i in range(len(values)))]
        left.plot(range(1, len(values) + 1), smooth, label=name)
    for (name, values), style in zip(curves.items(), ("-", "--", ":"), strict=True):
        right.plot(range(1, len(values) + 1), values, style, label=name, linewidth=2)
    left.set(xlabel="step", ylabel="contrastive loss")
    right.set(xlabel="step")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def rows(results: Mapping[str, Any]) -> list[str]:
    """Return the lines of the README's table.

    Args:
        results: the content of `results.json`.
    """
    names = ("run", "image to text: @1", "@5", "@10", "text to image: @1", "@5", "@10")
    headings = [f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]
    return headings + [
        f"| {name} | {' | '.join(f'{share:.1%}' for way in DIRECTIONS for share in recall[way])} |"
        for name, recall in results["recall"].items()
    ]


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, and write the report."""
    parser = Parser(prog="finetuning_report.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, help="the folder of runs that finetune.sh made")
    parser.add_argument("folder", type=Path, help="the folder to write to")
    given = parser.parse_args(arguments)

    def report() -> None:
        curves = {name: read_losses(given.runs / f"curve-{name}") for name in FRAMEWORKS}
        results = {
            "recall": read_retrieval(given.runs),
            "steps": len(curves["torch"]),
            "largest_difference": largest_difference(curves),
        }
        given.folder.mkdir(parents=True, exist_ok=True)
        write_text(given.folder / "results.json", json.dumps(results, indent=2) + "\n")
        draw_curves({name: read_losses(given.runs / name) for name in RUNS[1:]}, curves, given.folder / "curves.png")
        print("Recall at 1, 5 and 10 of an image's sentences by the image, and of the images by a sentence:\n")
        print("\n".join(rows(results)), end="\n\n")
        print(f"largest difference of losses between the frameworks: {results['largest_difference']:.1e}")

    return answered(report, "finetuning_report.py")


if __name__ == "__main__":
    run(main, "finetuning_report.py")
