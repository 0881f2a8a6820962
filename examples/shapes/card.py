"""Model card of the trained model: measure it, plot its training curve, and write both.

    python examples/shapes/card.py build/shapes examples/shapes/checkpoint

The first folder is `train.sh`'s build folder, the second holds the checkpoint; `README.md`, `results.json` and
`curve.png` are written there.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generate import PICTURES
from measure import GALLERY, measure, read_rows

from clip_core import CLIPConfig, ZeroShotClassifier
from clip_core.commands.streams import run_program
from clip_core.modeling.parameters import number_of_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from measure import Results

LESSONS = ("lesson-1", "lesson-2")
BATCH = 128
_SMOOTHED = 25  # steps

CARD = Path(__file__).with_name("card.md")


def draw_curve(records: Sequence[Sequence[dict[str, Any]]], path: Path) -> None:
    """Plot the loss and the temperature of the consecutive lessons."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    loss, scale = figure.subplots(1, 2)
    start = 0
    for number, lesson in enumerate(records, 1):
        steps = [start + record["step"] for record in lesson]
        losses = [record["loss"] for record in lesson]
        smooth = [
            sum(part) / len(part) for part in (losses[max(0, i - _SMOOTHED + 1) : i + 1] for i in range(len(losses)))
        ]
        (line,) = loss.plot(steps, losses, linewidth=0.5, alpha=0.3)
        loss.plot(steps, smooth, color=line.get_color(), label=f"lesson {number}")
        scale.plot(steps, [record["logit_scale"] for record in lesson], color=line.get_color())
        start = steps[-1]
    loss.set(xlabel="step", ylabel=f"contrastive loss, batches of {BATCH}", ylim=(0, None))
    scale.set(xlabel="step", ylabel="exp(logit_scale)", ylim=(0, None))
    loss.legend(frameon=False)
    for axes in (loss, scale):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def card(checkpoint: Path, results: Results, records: Sequence[Sequence[dict[str, Any]]]) -> str:
    """Return the text of the model card."""
    config = CLIPConfig.from_pretrained(checkpoint)
    seconds = sum(BATCH / record["samples_per_second"] for lesson in records for record in lesson)
    kinds = ", ".join(f"{share:.1%} of {kind}" for kind, share in results.both_by_kind.items())
    measured = {name: value for name, value in asdict(results).items() if isinstance(value, float)}
    return CARD.read_text(encoding="utf-8").format(
        parameters=number_of_parameters(config, "CLIPModel") / 1e6,
        size=(checkpoint / "model.safetensors").stat().st_size / 1e6,
        image_size=config.vision_config.image_size,
        patch_size=config.vision_config.patch_size,
        positions=config.text_config.max_position_embeddings,
        vocabulary=config.text_config.vocab_size,
        simple=PICTURES["simple"],
        full=PICTURES["full"],
        held_out=results.pictures,
        batch=BATCH,
        steps=sum(map(len, records)),
        minutes=f"{seconds / 60:.0f} minutes on two CPU cores",
        gallery=GALLERY,
        kinds=kinds,
        example="two-orange-arrows",
        **measured,
    )


def main() -> None:
    """Measure the model and write the card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("build", type=Path, help="the build folder of train.sh")
    parser.add_argument("checkpoint", type=Path, help="the checkpoint's folder")
    options = parser.parse_args()
    logs = [(options.build / lesson / "log.jsonl").read_text(encoding="utf-8") for lesson in LESSONS]
    records = [[json.loads(line) for line in log.splitlines() if '"loss"' in line] for log in logs]
    classifier = ZeroShotClassifier.from_pretrained(options.checkpoint)
    results = measure(classifier, read_rows(options.build / "held-out.parquet"))
    draw_curve(records, options.checkpoint / "curve.png")
    (options.checkpoint / "results.json").write_text(json.dumps(asdict(results), indent=2) + "\n", encoding="utf-8")
    text = card(options.checkpoint, results, records)
    (options.checkpoint / "README.md").write_text(text, encoding="utf-8")
    print(text[text.index("## Results") :])


if __name__ == "__main__":
    sys.exit(run_program(main, "card.py"))
