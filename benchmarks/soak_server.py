"""A long run of `clip-zoo serve`, whose memory must stay flat.

    python benchmarks/soak_server.py [--minutes 10] [--results benchmarks/results]

16 clients send texts and images to the shapes checkpoint, new ones in each round. Memory is read after each round.
The program writes soak_server.md and soak_server.json. It exits with 1 if an answer is missing or wrong, or if the
memory grows.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from statistics import median

import numpy as np
from comparing import check_same
from load import Load, ours
from machine import machine, today, versions
from PIL import Image
from soak import MODEL

from clip_core.tasks.zero_shot import ZeroShotClassifier

CLIENTS = 16
TEXTS, IMAGES = 200, 50  # in a round
_WARM_UP = 0.1  # the share of the rounds in which allocators fill up
# Growth that is not flat: a leaked answer takes 2 kB, a leaked image 12 kB. Allocators change by a few megabytes.
MOST_BYTES, MOST_IN_ALL = 500.0, 16 * 2**20


@dataclass(frozen=True)
class Soak:
    """The memory of a server over many requests.

    Attributes:
        seconds: the time of all rounds.
        requests: the number of answers.
        memory: resident bytes after each round.
    """

    seconds: float
    requests: int
    memory: list[int]

    @property
    def first(self) -> float:
        """The median of the first tenth after the warm-up, in bytes."""
        kept = self._kept()
        return median(kept[: max(1, len(kept) // 10)])

    @property
    def growth(self) -> float:
        """The growth from there to the median of the last tenth, in bytes."""
        kept = self._kept()
        return median(kept[-max(1, len(kept) // 10) :]) - self.first

    @property
    def is_flat(self) -> bool:
        """True if the memory did not grow."""
        return self.growth <= MOST_IN_ALL or self.growth / self.requests <= MOST_BYTES

    def _kept(self) -> list[int]:
        return self.memory[int(len(self.memory) * _WARM_UP) :]


def soak(server: Load, classifier: ZeroShotClassifier, seconds: float) -> Soak:
    """Send rounds of requests until the time has passed.

    Args:
        server: the server.
        classifier: its model; the answers must agree with its embeddings.
        seconds: the time.

    Raises:
        ServerError: if an answer is missing.
        DifferentOutputsError: if one is wrong.
    """
    memory: list[int] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        texts, images = drawn(len(memory))
        bodies = [server.body("texts", one) for one in texts] + [server.body("images", one) for one in images]
        embeds = server.turn(bodies, CLIENTS).embeds
        expected = np.concatenate([classifier.encode_texts(texts), classifier.encode_images(images)])
        check_same("served", {"embeddings": embeds}, "computed", {"embeddings": expected})
        memory.append(server.memory())
    return Soak(time.perf_counter() - start, len(memory) * (TEXTS + IMAGES), memory)


def drawn(number: int) -> tuple[list[str], list[str]]:
    """Return the texts of a round, and its images as data URIs."""
    random = np.random.default_rng(number)
    texts = [f"{place} shapes in round {number}, " + "red " * (place % 9) for place in range(TEXTS)]
    images = []
    for place in range(IMAGES):
        file = BytesIO()
        Image.fromarray(random.integers(0, 256, (60 + place, 80, 3), np.uint8)).save(file, "PNG")
        images.append("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    return texts, images


def report(found: Soak) -> str:
    """Return soak_server.md."""
    here = machine()
    cells = [
        f"{found.seconds / 60:.1f}",
        f"{found.requests:,}",
        f"{found.first / 2**20:.0f}",
        f"{found.growth / 2**20:.1f}",
        f"{found.growth / found.requests:.0f}",
        "yes" if found.is_flat else "no",
    ]
    lines = [
        "# A long run of the server",
        "",
        f"{today()}, {here['processor']}, {here['cores']} cores, Python {here['python']}. {CLIENTS} clients sent texts",
        "and images, one in each request, to `clip-zoo serve` with the shapes checkpoint. All answers arrived and were",
        "right. Growth is counted from the end of a warm-up of a tenth of the time.",
        "",
        "| minutes | requests | MB at first | MB more at last | bytes a request | flat |",
        "|---:|---:|---:|---:|---:|---|",
        f"| {' | '.join(cells)} |",
        "",
        ", ".join(f"{name} {number}" for name, number in versions().items()) + ".",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the server and its clients, and write the report."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10.0, help="the time")
    options.add_argument(
        "--results", type=Path, default=Path(__file__).with_name("results"), help="the folder to write"
    )
    given = options.parse_args()
    classifier = ZeroShotClassifier.from_pretrained(MODEL, backend="torch")
    server = ours(MODEL)
    try:
        found = soak(server, classifier, 60 * given.minutes)
    finally:
        server.close()
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "soak_server.md").write_text(report(found), encoding="utf-8")
    (given.results / "soak_server.json").write_text(json.dumps(asdict(found)) + "\n", encoding="utf-8")
    print(report(found))
    return 0 if found.is_flat else 1


if __name__ == "__main__":
    sys.exit(main())
