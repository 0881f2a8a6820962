"""`clip-zoo embed`: embed many images into a dataset of Parquet files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clip_core.commands.options import (
    INTEGER,
    SEVERAL,
    Dtype,
    Integer,
    check_backend,
    check_out,
    dtype_option,
    images_of,
)
from clip_core.commands.streams import print_row
from clip_core.configuration.arguments import check_integers
from clip_core.hub.printing import counted, printable

if TYPE_CHECKING:
    from clip_core.tasks.embedding import PartResult

BAD_INPUT = 2


def embed(
    source: Annotated[str, Parameter(name="SOURCE")],
    /,
    *,
    out: str,
    engine: str = "local",
    workers: Annotated[int | None, INTEGER] = None,
    model: str | None = None,
    backend: str | None = None,
    device: str | None = None,
    dtype: Dtype = None,
    image_column: str | None = None,
    columns: Annotated[list[str] | None, SEVERAL] = None,
    embedding_dtype: Annotated[str, dtype_option("float32", "float16")] = "float32",
    rows_per_part: Integer = 4096,
    batch_size: Integer = 32,
    num_threads: Annotated[int | None, INTEGER] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Embed many images into a dataset of Parquet files, or complete such a dataset.

    Parameters
    ----------
    source
        A folder of images, Parquet files with a column of images or of their paths, or WebDataset shards: a path, a
        pattern such as "train-{000..099}.tar", or a URL such as s3://bucket/images.
    out
        The folder of the dataset, or its URL. Existing parts are not computed again.
    engine
        The engine that does the work: local, in this process; or ray, on the cluster that RAY_ADDRESS names, or else
        on this machine.
    workers
        The number of models that ray runs; by default one on each GPU, or one on each machine if there are no GPUs.
    model
        A local folder or a hub id; by default that of the dataset, or openai/clip-vit-base-patch32.
    backend
        The framework that runs the model: torch, flax or tf; by default the first of these that is installed.
    device
        The device, such as cpu or cuda; by default the best available.
    dtype
        The dtype of the weights: float32, float16, bfloat16 or auto; by default that of the dataset, or float32.
    image_column
        The column of images, or of their paths, in Parquet files; by default the first of image, img, jpg, png, webp,
        image_bytes, image_path, path and file_name that exists. In shards, the extension of the images; by default
        jpg, jpeg, png and webp.
    columns
        Columns of Parquet files to keep; by default all but embedded images.
    embedding_dtype
        The dtype of the stored embeddings: float32 or float16.
    rows_per_part
        Images in a part of the dataset. A part that is interrupted is computed again. Each shard is one part.
    batch_size
        Images to encode at a time.
    num_threads
        Threads of each model that read and preprocess images; by default one for each processor, up to 8 (with ray, for
        each of the processors that a worker has).
    json
        Print one JSON object per line: each part once it is written, and a summary.
    """
    check_integers(rows_per_part=(rows_per_part, 1), batch_size=(batch_size, 1))
    check_out(out, "SOURCE", [source])
    if engine == "local":  # the workers of others run on other machines
        check_backend(backend, device)
    from tqdm import tqdm

    from clip_core.tasks.embedding import embed as embed_source

    def started(parts: int, earlier: int) -> None:
        bar.reset(parts)
        if earlier and not json:
            bar.set_postfix_str(f"{earlier} already there")

    def written(part: PartResult) -> None:
        bar.update(1)
        counts["images"] += part.images
        bar.set_postfix_str(counted(counts["images"], "image"))
        with tqdm.external_write_mode(file=sys.stderr):
            _tell(part)
        if json:
            print_row(_as_json(part))

    counts = {"images": 0}
    with tqdm(unit="part", disable=None) as bar, images_of(model or ""):
        summary = embed_source(
            source,
            out,
            engine=engine,
            workers=workers,
            model=model,
            backend=backend,
            device=device,
            dtype=dtype,
            image_column=image_column,
            columns=columns,
            embedding_dtype=embedding_dtype,
            rows_per_part=rows_per_part,
            batch_size=batch_size,
            num_threads=num_threads,
            on_start=started,
            on_part=written,
        )
    told = {
        "images": summary.images,
        "failed": summary.failed,
        "parts": summary.parts,
        "earlier": summary.earlier,
        "errors": len(summary.errors),
    }
    if json:
        print_row({"dataset": out, **told})
    else:
        names = {
            "failed": "failed",
            "parts": "parts written",
            "earlier": "parts already there",
            "errors": "parts missing",
        }
        counts_told = ", ".join(f"{text}: {told[name]}" for name, text in names.items() if told[name])
        print(f"{out}: {counted(summary.images, 'image')} embedded ({counts_told})")
    return BAD_INPUT if summary.failed or summary.errors else 0


def _tell(part: PartResult) -> None:
    """Print the error of a part, or the first images that could not be read."""
    reasons = [told for _, told in part.reasons] if part.error is None else [part.error]
    for reason in reasons:
        print(f"clip-zoo: {printable(reason)}", file=sys.stderr)
    if part.failed > len(part.reasons):
        print(f"clip-zoo: {part.piece}: {part.failed - len(part.reasons)} more failed", file=sys.stderr)


def _as_json(part: PartResult) -> dict[str, object]:
    if part.error is not None:
        return {"piece": part.piece, "error": part.error}
    counts = {"images": part.images, "failed": part.failed, "seconds": round(part.seconds, 3)}
    return {"piece": part.piece, "part": part.path, **counts}
