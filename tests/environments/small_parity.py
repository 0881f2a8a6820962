"""A small proof that an environment works: `python small_parity.py [EXTRA]...`.

Converts the checkpoint of the demo into other formats and compares the values, opens it with both tokenizers and the
image processor and, with a backend, classifies its images after loading each format. The probabilities are compared
with those stored beside this file, which `--store BACKEND` computes. Other extras run what they are for.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from clip_core import CLIPProcessor, CLIPTokenizer, CLIPTokenizerFast, ZeroShotClassifier
from clip_core.cli import main
from clip_core.images.decoding import open_image
from clip_core.images.inputs import find_images, load_image
from clip_core.training.logs import open_log
from converters import convert, diff

sys.path.append(str(Path(__file__).parents[1]))
from support.tolerances import FITTED, HALF_PRECISION, PROBABILITIES, STORED_PIXELS

SHAPES = Path(__file__).parents[2] / "examples" / "shapes"
CHECKPOINT = SHAPES / "checkpoint"
STORED = Path(__file__).with_name("small_parity.json")
LABELS = ["a green cross", "a yellow star", "three black rings", "a picture of a café's red heart"]
FORMATS_OF_TRANSFORMERS = ("safetensors", "torch", "tf", "flax")


def check_formats(folder: Path) -> list[Path]:
    """Convert into the formats of transformers, and find no difference."""
    folders = []
    for name in FORMATS_OF_TRANSFORMERS:
        convert(CHECKPOINT, folder / name, name)
        assert not diff(CHECKPOINT, folder / name), name
        folders.append(folder / name)
    return folders


def check_inputs(stored: dict[str, list[list[float]]]) -> None:
    """Compare the ids and the mean of the pixels with those stored."""
    tokenizers = (CLIPTokenizer, CLIPTokenizerFast)
    for found in [tokenizer.from_pretrained(CHECKPOINT)(LABELS)["input_ids"] for tokenizer in tokenizers]:
        assert [list(map(int, row)) for row in found] == stored["ids"]
    image = open_image(find_images(str(SHAPES / "pictures"))[0])
    pixels = CLIPProcessor.from_pretrained(CHECKPOINT)(images=image, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(pixels.mean(axis=(0, 2, 3)), stored["pixels"], atol=STORED_PIXELS)


def check_rotation(folder: Path) -> None:
    """Rotate images by a quarter turn, once in every format and release of Pillow."""
    levels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for name in ("rotated.png", "rotated.tiff"):
        image = Image.fromarray(levels)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(folder / name, exif=exif)
        np.testing.assert_array_equal(np.asarray(load_image(folder / name))[..., 0], np.rot90(levels, -1))


def probabilities(folder: Path, backend: str) -> np.ndarray:
    """Classify the images of the demo."""
    classifier = ZeroShotClassifier.from_pretrained(folder, backend=backend)
    return np.asarray(classifier([open_image(path) for path in find_images(str(SHAPES / "pictures"))], LABELS))


def check_training(folder: Path) -> None:
    """Train two steps on a Parquet file with Flax, whose optimizer is the extra's."""
    import pyarrow as pa
    import pyarrow.parquet

    images = [path.read_bytes() for path in find_images(str(SHAPES / "pictures"))[:4]]
    table = pa.table({"image": images, "text": LABELS})
    pa.parquet.write_table(table, folder / "pairs.parquet")
    options = ["--batch-size", "2", "--workers", "0", "--crop", "none", "--backend", "flax", "--lr", "1e-6"]
    places = ["--data", str(folder / "pairs.parquet"), "--model", str(CHECKPOINT), "--checkpoint-dir", str(folder)]
    with suppress(SystemExit):
        main(["train", *places, *options])
    loss = json.loads((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])["loss"]
    assert 0 <= loss < 2


def check_embedding(folder: Path) -> None:
    """Embed the images with Flax, and read the parts."""
    from clip_core.tasks.embedding import EmbeddedDataset, embed

    embed(SHAPES / "pictures", folder / "embeddings", model=CHECKPOINT, backend="flax", embedding_dtype="float16")
    (part,) = EmbeddedDataset(folder / "embeddings").batches()
    images = find_images(str(SHAPES / "pictures"))
    expected = ZeroShotClassifier.from_pretrained(CHECKPOINT, backend="flax").encode_images(images)
    np.testing.assert_allclose(part[1], expected, rtol=0, atol=HALF_PRECISION["float16"])


def check_probe(_folder: Path) -> None:
    """Fit a linear probe to two points."""
    from clip_core.evaluation.logistic import optimizer

    found = optimizer()(lambda x: (float(((x - 3) ** 2).sum()), 2 * (x - 3)), np.zeros(2), jac=True, method="L-BFGS-B")
    np.testing.assert_allclose(found.x, 3, atol=FITTED)


def check_plots(folder: Path) -> None:
    """Draw a plot."""
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2], [3, 4])
    figure.savefig(folder / "plot.png")
    assert open_image(folder / "plot.png").size == (640, 480)


def check_lists(folder: Path) -> None:
    """Search an index through inverted lists, exactly and after it was opened again."""
    from clip_core.tasks.search import approximate
    from clip_core.tasks.search.rows import IndexedImage
    from clip_core.tasks.search.store import SqliteStore

    approximate.WORTH = 1000
    embeds = np.random.default_rng(0).standard_normal((2000, 16)).astype(np.float32)
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    store = SqliteStore(folder / "index", create=True)
    store.add([IndexedImage(b"/%d" % n, n, 0, "", b"", b"", 1, 1) for n in range(len(embeds))], embeds)
    store.compact()
    store.close()
    store = SqliteStore(folder / "index")
    for number, query in enumerate(embeds[:9]):
        (found,) = store.search(query, 1)
        assert found.row.size == number
    assert store.search(embeds[0], 5)[0].score == store.search(embeds[0], 5, exact=True)[0].score
    assert store._opened[1].count == len(embeds)
    store.close()


def check_server(_folder: Path) -> None:
    """Serve the checkpoint with Flax, embed a text as a client does, and read the metrics."""
    options = ["--model", str(CHECKPOINT), "--backend", "flax", "--port", "0"]
    command = [sys.executable, "-P", "-W", "ignore", "-m", "clip_core.cli", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        address = re.search(r"http://\S+", server.stdout.readline())[0]
        body = json.dumps({"input": LABELS[:1], "model": CHECKPOINT.name}).encode()
        request = urllib.request.Request(f"{address}/v1/embeddings", body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310  http
            (row,) = json.load(answer)["data"]
        with urllib.request.urlopen(f"{address}/metrics") as answer:  # noqa: S310  http
            metrics = answer.read().decode()
        server.terminate()
    classifier = ZeroShotClassifier.from_pretrained(CHECKPOINT, backend="flax")
    embeds = np.asarray(classifier.encode_texts(LABELS[:1]))[0]
    np.testing.assert_allclose(row["embedding"], embeds / np.linalg.norm(embeds), atol=PROBABILITIES)
    assert 'route="embeddings"' in metrics
    assert server.returncode == 128 + signal.SIGTERM


def check_demo(folder: Path) -> None:
    """Run the demo, which gives each framework its own process, and write a log for TensorBoard."""
    inputs = [str(CHECKPOINT), str(SHAPES / "pictures"), "--labels", str(SHAPES / "labels.txt")]
    demo = subprocess.run([sys.executable, str(SHAPES.parent / "demo.py"), *inputs], capture_output=True, check=False)
    assert demo.returncode == 0, demo.stderr.decode()
    log = open_log("tensorboard", folder, resumed_at=0, settings={})
    log.write(1, {"loss": 0.5})
    log.close()
    assert [path for path in (folder / "tensorboard").iterdir() if path.stat().st_size]


CHECKS = {
    "train": check_training,
    "embed": check_embedding,
    "evaluate": check_probe,
    "search": check_lists,
    "serve": check_server,
    "plots": check_plots,
    "demo": check_demo,
}


def store(backend: str) -> None:
    """Write the expected numbers."""
    image = open_image(find_images(str(SHAPES / "pictures"))[0])
    processor = CLIPProcessor.from_pretrained(CHECKPOINT)
    content = {
        "ids": [list(map(int, row)) for row in processor.tokenizer(LABELS)["input_ids"]],
        "pixels": processor(images=image, return_tensors="np")["pixel_values"].mean(axis=(0, 2, 3)).tolist(),
        "probabilities": probabilities(CHECKPOINT, backend).round(7).tolist(),
    }
    STORED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def check(extras: list[str]) -> None:
    """Check this environment."""
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    check_inputs(stored)
    with tempfile.TemporaryDirectory() as scratch:
        check_rotation(Path(scratch))
        folders = check_formats(Path(scratch))
        for extra in extras:
            if extra in CHECKS:
                CHECKS[extra](Path(scratch))
                continue
            for folder in folders:
                np.testing.assert_allclose(probabilities(folder, extra), stored["probabilities"], atol=PROBABILITIES)
    print("this environment works:", ", ".join(extras) or "no extra")  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:2] == ["--store"]:
        store(sys.argv[2])
    else:
        check(sys.argv[1:])
