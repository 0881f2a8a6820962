"""`clip-zoo train`: train a CLIP model, or resume training."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from clip_core.commands.options import (
    INTEGER,
    SEVERAL,
    Integer,
    check_backend,
    check_vocabulary,
    images_of,
    long_dtype,
)
from clip_core.configuration.arguments import MOST_WORKERS, check_integers
from clip_core.hub.printing import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import Token

    from clip_core.data import PairLoader
    from clip_core.data.pairs import Pairs
    from clip_core.processing import CLIPProcessor
    from clip_core.training.checkpoints import RunCheckpoint
    from clip_core.training.settings import TrainSettings
    from clip_core.training.step import Trainer


_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}  # as settings have them


def _precision(_: type, tokens: Sequence[Token]) -> str:
    """Return the short name of a dtype."""
    return _PRECISIONS[long_dtype(tokens[0].value, _PRECISIONS)]


def train(
    *,
    data: Annotated[list[str], SEVERAL],
    model: str,
    checkpoint_dir: Path,
    backend: str | None = None,
    device: str | None = None,
    parallel: Literal["ddp", "fsdp"] | None = None,
    batch_size: Integer = 256,
    epochs: Integer = 1,
    lr: float = 5e-4,
    warmup: float = 0.05,
    weight_decay: float = 0.2,
    precision: Annotated[Literal["fp32", "bf16"], Parameter(converter=_precision, show_choices=False)] = "fp32",
    accum: Integer = 1,
    loss_chunk: Annotated[int | None, INTEGER] = None,
    freeze: Literal["text", "vision", "none"] = "none",
    max_grad_norm: float = 1.0,
    gradient_checkpointing: bool = False,
    crop: Literal["none", "random", "resized"] = "resized",
    processor: str | None = None,
    workers: Integer = 2,
    max_broken: Integer = 100,
    unpaired: Literal["error", "skip"] = "error",
    save_every: Integer = 1000,
    keep: Integer = 2,
    seed: Integer = 0,
    resume: Annotated[bool, Parameter(negative="")] = False,
    log: Annotated[list[Literal["jsonl", "tensorboard", "wandb"]] | None, SEVERAL] = None,
) -> int:
    """Train a CLIP model on image-text pairs, or resume an interrupted run.

    Parameters
    ----------
    data
        A folder of images with captions, a table, tar shards (WebDataset), or Parquet files.
    model
        The checkpoint to start from: a folder, file or hub id. Or a config.json, for randomly initialized weights.
    checkpoint_dir
        The folder for checkpoints and logs.
    backend
        The framework that trains the model: torch, flax or tf; by default the first of these that is installed.
    device
        The device, as the framework names it; by default the best available.
    parallel
        The way several processes share a model, if the framework offers a choice: each holds all weights (ddp, the
        default) or a part of them (fsdp).
    batch_size
        Pairs per step; each pair has all others as negatives.
    epochs
        Passes over the data.
    lr
        The maximum learning rate; it decays to zero along a cosine.
    warmup
        Warm-up steps; below 1, a fraction of all steps.
    weight_decay
        Weight decay; biases, norms and the temperature have none.
    precision
        The dtype of the computation: float32 or bfloat16; or fp32 or bf16 for short. Weights are float32.
    accum
        Number of pieces in which a batch is computed, to save memory; the gradients are those of the whole batch.
    loss_chunk
        Rows of the similarity matrix held in memory at a time, for very large batches.
    freeze
        A tower to freeze.
    max_grad_norm
        Clip the gradient norm to this; 0 disables clipping.
    gradient_checkpointing
        Recompute layers in the backward pass: less memory, more time.
    crop
        The augmentation of images: "resized" as in open_clip, "random" as in the paper, or "none".
    processor
        The source of the tokenizer and image processor; by default the model, or the config.json's folder.
    workers
        Processes that decode images.
    max_broken
        Broken samples to skip per epoch before raising an error.
    unpaired
        Raise an error for a folder's images without a caption and captions without an image, or skip them.
    save_every
        Steps between two checkpoints.
    keep
        Number of checkpoints to keep.
    seed
        The seed of the sample order, the crops and the initial weights.
    resume
        Resume from the last checkpoint in the folder; start a new run if there is none.
    log
        The logs to write: jsonl (the default), tensorboard, wandb.
    """
    from clip_core.backends import load_backend
    from clip_core.configuration import CLIPConfig
    from clip_core.data import RandomCrop, RandomResizedCrop, open_pairs
    from clip_core.hub.targets import check_folder
    from clip_core.processing import CLIPProcessor
    from clip_core.processing.frameworks import default_backend
    from clip_core.training.checkpoints import RunFolder, check_config
    from clip_core.training.logs import check_installed, open_log
    from clip_core.training.loop import Run
    from clip_core.training.settings import TrainSettings

    check_integers(most=MOST_WORKERS, workers=(workers, 0))
    check_integers(max_broken=(max_broken, 0), save_every=(save_every, 1), keep=(keep, 1))
    if not max_grad_norm >= 0:
        raise ValueError(f"--max-grad-norm {max_grad_norm:g}: give a number of 0 or more; 0 disables clipping")
    check_folder("checkpoint_dir", checkpoint_dir)
    settings = TrainSettings(
        batch_size=batch_size,
        epochs=epochs,
        lr=lr,
        warmup=warmup,
        weight_decay=weight_decay,
        max_grad_norm=max_grad_norm or None,
        precision=precision,
        accum=accum,
        loss_chunk=loss_chunk,
        freeze=freeze,
        gradient_checkpointing=gradient_checkpointing,
        seed=seed,
    )
    check_backend(backend, device, parallel)
    check_installed(log or [])
    folder = RunFolder(checkpoint_dir, keep)
    last = _last(folder, resume=resume)
    config = CLIPConfig.from_pretrained(model)
    if last is not None:
        check_config(last, config)
    its_processor = _processor(processor, model) if last is None else CLIPProcessor.from_pretrained(last.folder)
    option, source = ("--model", model) if processor is None else ("--processor", processor)
    check_vocabulary(its_processor.tokenizer, config, f"{option} {source}")
    pairs = open_pairs(data[0] if len(data) == 1 else data, unpaired=unpaired)
    trainer = load_backend(backend or default_backend()).train(
        model if last is None else last.folder, settings, device=device, parallel=parallel
    )
    loader = _loader(
        pairs,
        its_processor,
        settings,
        trainer,
        augmentation={"none": None, "random": RandomCrop(), "resized": RandomResizedCrop()}[crop],
        max_length=config.text_config.max_position_embeddings,
        num_workers=workers,
        max_broken=max_broken,
    )
    with ExitStack() as open_things:
        if trainer.process_index == 0:
            open_things.enter_context(folder.owned(last))
        open_things.enter_context(closing(loader))
        run = Run(trainer, loader, its_processor, settings, folder, save_every=save_every)
        if last is not None:
            run.resume(last)  # before the logs are opened, which drops later entries
        run.logs = [
            open_things.enter_context(
                closing(open_log(kind, checkpoint_dir, resumed_at=run.step, settings=settings.to_dict()))
            )
            for kind in (log or ["jsonl"] if trainer.process_index == 0 else [])
        ]
        with images_of(source, option):
            report = run()
    if trainer.process_index == 0:
        _tell(run, report, folder)
    return 0


def _last(folder: Any, *, resume: bool) -> RunCheckpoint | None:
    last: RunCheckpoint | None = folder.latest()
    if last is not None and not resume:
        raise ValueError(
            f"{folder.root} already contains checkpoints; pass --resume to continue that run, or choose another folder"
        )
    return last


def _processor(source: str | None, model: str) -> CLIPProcessor:
    """Load the processor from its own source, the model, or the folder of the model's config.json."""
    from clip_core.processing import CLIPProcessor

    is_config = model.endswith(".json")
    try:
        processor: CLIPProcessor = CLIPProcessor.from_pretrained(source or (Path(model).parent if is_config else model))
    except FileNotFoundError as error:
        if source is not None or not is_config:
            raise
        raise FileNotFoundError(f"--model {model}: {error}; give --processor") from error
    return processor


def _loader(
    pairs: Pairs, processor: CLIPProcessor, settings: TrainSettings, trainer: Trainer, **options: Any
) -> PairLoader:
    """Return this process's loader; `options` are those of PairLoader."""
    from clip_core.data import PairLoader

    share, rest = divmod(settings.batch_size, trainer.process_count * settings.accum)
    if rest:
        raise ValueError(
            f"--batch-size {settings.batch_size} cannot be split into {settings.accum} pieces on each of "
            f"{trainer.process_count} processes"
        )
    return PairLoader(
        pairs,
        processor,
        batch_size=share * settings.accum,
        process_index=trainer.process_index,
        process_count=trainer.process_count,
        seed=settings.seed,
        **options,
    )


def _tell(run: Any, report: Any, folder: Any) -> None:
    last = folder.steps()[-1] if folder.steps() else 0
    where = f"{folder.root}/step-{last:08d}"
    if report is None:
        print(f"training is already complete after {counted(run.steps, 'step')}; the model is in {where}")
    else:
        print(f"step {run.step} of {run.steps}: loss {report.loss:.4f}; the model is in {where}")
