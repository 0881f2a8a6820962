"""The part of `from_pretrained` and `save_pretrained` that needs no framework."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.configuration import CLIPConfig
from clip_core.configuration.checks import spelled
from clip_core.configuration.given import own_config
from clip_core.hub import split_hub_options
from clip_core.hub.changes import WatchedFiles
from clip_core.hub.options import refuse_loader_keywords
from clip_core.hub.pushable import Pushable, upload_saved
from clip_core.modeling.parameters import plain_class_name
from converters.checkpoint import Checkpoint, open_checkpoint
from converters.formats import FORMATS, format_named
from converters.naming.derived import fit_derived
from converters.naming.matching import adopt_projection, check_fit
from converters.sidecars.description import config_from_pretrained
from converters.writing import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from converters.formats.format import Format
    from converters.naming.derived import Parameters
    from converters.naming.matching import LoadReport
    from converters.tensors import TensorEntry

# Keywords for saving in training scripts for transformers; accepted and ignored.
_NOT_NEEDED_TO_SAVE = ("save_function", "save_peft_format")
# Keywords that request a conversion.
_OF_CONVERT = ("format", "dtype")


def _one_dtype(by_part: Mapping[str, Any], config: Any, default: Any) -> Any:
    """Return the dtype of a dict by part, such as {"": "float16"}. Parts that the configuration lacks are ignored.

    Raises:
        ValueError: a key is not a part, or a tower would have another dtype than the rest of the model.
    """
    for key in by_part:
        if key not in {"", *CLIPConfig.sub_configs}:
            known = ", ".join(map(repr, ("", *CLIPConfig.sub_configs)))
            raise ValueError(
                f"dtype={dict(by_part)!r} has the unknown key {key!r}; give one dtype, or a dict of {known}"
            )
    of_rest = default if by_part.get("") is None else by_part[""]
    for key in config.sub_configs:
        if key in by_part and spelled(by_part[key]) != spelled(of_rest):
            raise ValueError(
                f"dtype={dict(by_part)!r} gives {key} another dtype than the rest of the model, whose projections "
                "could not take its outputs; pass one dtype, or load the tower by its own class"
            )
    return of_rest


@dataclass
class FoundCheckpoint:
    """A checkpoint that fits a model, before the model is created.

    Attributes:
        config: the configuration, including the caller's fields.
        checkpoint: the weights; no tensor has been read yet.
        report: the comparison of the two. `report.matched` are the parameters to assign.
        fresh: the parameters to initialize; a warning has named them.
        entries: the tensors to assign, by parameter name; none has been read yet.
        model: for a user's subclass, the model, which was created to learn its parameters; otherwise None.
    """

    config: Any
    checkpoint: Checkpoint
    report: LoadReport
    fresh: list[str]
    entries: dict[str, TensorEntry]
    model: Any = None

    def dtype(self, dtype: Any, default: Any) -> Any:
        """Return the dtype to load in: the given one, `default` for None, or the checkpoint's for "auto".

        A dict by part, as in transformers, must have the same dtype for all parts.

        Raises:
            ValueError: if a dict names several dtypes, or an unknown part.
        """
        return _dtype(self.config, self.checkpoint, dtype, default)

    @property
    def kept_dtype(self) -> str | None:
        """The dtype to load in if the stored ones should be kept: None, or "float32" if some are floats of 8 bits."""
        return "float32" if any(found.itemsize == 1 for found in _floating(self.checkpoint)) else None

    def note_dtype(self, dtype: Any) -> None:
        """Set the dtype of the loaded weights in the configuration and in those of its towers.

        Args:
            dtype: a dtype of any framework, or its name.
        """
        for part in (self.config, *(getattr(self.config, key) for key in self.config.sub_configs)):
            part.dtype = dtype


def find_checkpoint(
    model_class: type[Any],
    source: str | os.PathLike[str] | None,
    build: Callable[..., tuple[Any, Parameters]] | None = None,
    *,
    config: Any = None,
    tensors: Mapping[str, TensorEntry] | None = None,
    strict: bool | None = None,
    may_lack: bool = False,
    ignore_mismatched_sizes: bool = False,
    output_loading_info: bool = False,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    **kwargs: Any,
) -> FoundCheckpoint:
    """Find a checkpoint and compare it with a model class. No tensor is read.

    Args:
        model_class: the class, which has a `config_class`.
        source: a local folder or weight file, or a hub id; None with `tensors` and `config`.
        build: creates a model of a user's subclass, whose parameters are not known otherwise, and returns it with its
            parameters. Its arguments are the configuration, a function like `Prepared.dtype`, and the remaining
            keywords. Without it, `model_class` is treated as one of the library's own.
        config: a configuration, or its source; by default the configuration beside the weights.
        tensors: weights to use instead of the source's.
        strict: raise an error for missing or unexpected tensors; None for True unless `output_loading_info` asks for
            their names.
        may_lack: accept missing tensors even if `strict`, because the caller initializes them by `init_weights`.
        ignore_mismatched_sizes: initialize parameters whose shape in the checkpoint differs.
        output_loading_info: True if the caller gets the report.
        variant: as in `model.<variant>.safetensors`.
        use_safetensors: True for safetensors only, False for every other format.
        **kwargs: fields of the configuration, and hub options; see `clip_core.hub.HubOptions`.

    Raises:
        FileNotFoundError: there is no such checkpoint, or it has no weights in a known format.
        CheckpointError: the checkpoint does not fit; one report names every tensor.
        ChangedError: another program writes to the files.
        TypeError: a keyword is unknown.
    """
    hub = split_hub_options(kwargs)
    refuse_loader_keywords(kwargs, model_class.__name__)
    new_head = not {"num_labels", "id2label", "label2id"}.isdisjoint(kwargs)
    if source is None and (tensors is None or config is None):
        raise ValueError(
            "pretrained_model_name_or_path=None needs both config and state_dict; otherwise give a folder, file or "
            "hub id to load from"
        )
    is_derived = build is not None and model_class.is_derived()
    watched = None if source is None else WatchedFiles(source, hub.get("subfolder"))
    config, own_keywords = _resolve_config(model_class, source if config is None else config, hub, kwargs)
    if own_keywords and not is_derived:
        raise TypeError(f"{model_class.__name__}.from_pretrained does not take {', '.join(own_keywords)}")
    if tensors is not None:
        checkpoint = Checkpoint(tensors, "state_dict", as_named=is_derived)
    else:
        assert source is not None  # noqa: S101  for the type checker; checked above
        checkpoint = open_checkpoint(
            source, variant=variant, use_safetensors=use_safetensors, as_named=is_derived, **hub
        )
        config.name_or_path = os.fspath(source)
        assert watched is not None  # noqa: S101  as above
        watched.check(checkpoint.files)
    options: dict[str, Any] = {
        "strict": not output_loading_info if strict is None else strict,
        "may_lack": may_lack,
        "ignore_mismatched_sizes": ignore_mismatched_sizes,
    }
    if build is not None and is_derived:
        adopt_projection(config, checkpoint)
        model, parameters = build(config, partial(_dtype, config, checkpoint), **own_keywords)
        report, fresh, entries = fit_derived(checkpoint, parameters, model_class, **options)
    else:
        model = None
        report, fresh = check_fit(checkpoint, config, model_class.__name__, new_head=new_head, **options)
        entries = {name: checkpoint.entries[name] for name in report.matched}
    mismatched = [
        f"{name} (the shapes did not match: {in_file} in the checkpoint, {wanted} in the model)"
        for name, in_file, wanted in report.mismatched
    ]
    fate = "not initialized" if may_lack else "newly initialized"
    _warn(model_class.__name__, fate, report.missing + mismatched, report.unexpected if is_derived else [])
    return FoundCheckpoint(config, checkpoint, report, fresh, entries, model)


def _dtype(config: Any, checkpoint: Checkpoint, dtype: Any, default: Any) -> Any:
    if isinstance(dtype, Mapping):
        dtype = _one_dtype(dtype, config, default)
    if dtype is None:
        return default
    if dtype != "auto":
        return dtype
    if config.dtype is not None:
        return config.dtype
    widest = max(_floating(checkpoint), key=lambda found: found.itemsize)
    return widest.name if widest.itemsize > 1 else "float32"  # floats of 8 bits are stored, but not computed in


def _floating(checkpoint: Checkpoint) -> list[Any]:
    return [found for name in checkpoint if (found := checkpoint.dtype(name)).kind not in "biu"]


def _warn(class_name: str, fate: str, fresh: list[str], ignored: list[str]) -> None:
    if fresh:
        advice = "pass params to init_weights" if fate == "not initialized" else "train them before use"
        warnings.warn(f"{class_name}: {fate}: {', '.join(fresh)}; {advice}", stacklevel=4)
    if ignored:
        warnings.warn(f"{class_name}: not used from the checkpoint: {', '.join(ignored)}", stacklevel=4)


def save(
    model: Any,
    folder: str | os.PathLike[str],
    tensors: Mapping[str, TensorEntry],
    *,
    format: str,  # noqa: A002  a keyword of the public API
    dtype: str,
    is_main_process: bool = True,
    max_shard_size: int | str = "5GB",
    variant: str | None = None,
    push_to_hub: bool = False,
    keywords: dict[str, Any],
) -> None:
    """Save a model's configuration and weights in Hugging Face's layout. An interrupted save keeps the old files.

    Args:
        model: the model, which has a `config`.
        folder: the folder, created if missing.
        tensors: the weights by canonical name.
        format: the file format, by its name in `converters.formats.FORMATS`.
        dtype: dtype of the weights, stated in the configuration.
        is_main_process: False writes nothing; for all but one of several processes.
        max_shard_size: bytes, or a string such as "5GB"; larger weights are split into several files with an index.
        variant: as in `model.<variant>.safetensors`.
        push_to_hub: upload the folder after saving.
        keywords: the caller's other keywords, those of `clip_core.hub.upload_folder`; `repo_id` defaults to the
            folder's name. They are a dict because one of them may have the name of an argument of this function.

    Raises:
        TypeError: a keyword is unknown.
        FileExistsError: the folder has weights in a format that is read first, so that the saved ones would not be
            loaded.
        OSError: the folder cannot be written, or the disk has too little free space.
    """
    for name in _NOT_NEEDED_TO_SAVE:
        keywords.pop(name, None)
    for name in (name for name in _OF_CONVERT if name in keywords):
        raise TypeError(
            f"save_pretrained does not take {name}={keywords[name]!r}; to write another format or dtype, convert the "
            "saved folder with converters.convert"
        )
    if not push_to_hub and not keywords.keys() <= {"token", "use_auth_token"}:
        raise TypeError(f"save_pretrained does not take {', '.join(keywords)} without push_to_hub=True")
    if not is_main_process:
        return
    format_ = format_named(format)
    _check_read_first(Path(folder), format_, variant)
    model.config.architectures = [plain_class_name(type(model).__name__)]
    model.config.dtype = dtype
    save_weights(
        folder,
        tensors,
        format_,
        max_shard_size=max_shard_size,
        variant=variant,
        texts={"config.json": model.config.to_json_string()},
    )
    if push_to_hub:
        upload_saved(folder, **keywords)


def _check_read_first(folder: Path, format_: Format, variant: str | None) -> None:
    """Check that weights saved in a format are those that `open_checkpoint` finds in the folder."""
    earlier = [name for each in FORMATS[: FORMATS.index(format_)] for name in each.candidates(variant)]
    if there := [name for name in earlier if (folder / name).exists()]:
        raise FileExistsError(
            f"{folder} contains {', '.join(there)}, which would be loaded instead of the model to be saved; delete it, "
            "or save into another folder"
        )


class PushableModel(Pushable):
    """A mixin that uploads a model with `save_pretrained`."""

    def push_to_hub(
        self, repo_id: str, *, max_shard_size: int | str = "5GB", safe_serialization: bool = True, **kwargs: Any
    ) -> str:
        """Upload the model to a hub repository.

        Args:
            repo_id: the repository, such as "user/my-clip"; created if missing.
            max_shard_size: as in `save_pretrained`.
            safe_serialization: as in `save_pretrained`.
            **kwargs: the keywords of `clip_core.hub.upload_folder`.

        Returns:
            The URL of the commit.
        """
        return self._push(repo_id, kwargs, max_shard_size=max_shard_size, safe_serialization=safe_serialization)


def _resolve_config(model_class: type[Any], given: Any, hub: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the configuration, given or read, updated with the caller's fields; and the remaining keywords."""
    if isinstance(given, (str, Path)):
        config, unused = config_from_pretrained(model_class.config_class, given, **hub, **kwargs)
    else:
        # The caller's configuration is not changed.
        config = own_config(copy.deepcopy(given), model_class.config_class, model_class.__name__)
        unused = {name: value for name, value in kwargs.items() if not hasattr(config, name)}
        config.update({name: value for name, value in kwargs.items() if name not in unused})
    return config, unused
