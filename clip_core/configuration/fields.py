"""Fields shared by the three configurations."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from clip_core.configuration.checks import PROBLEM_TYPES, check_choice, check_labels, dtype_name, with_int_keys
from clip_core.configuration.inherited import INHERITED, InheritedFields
from clip_core.hub.printing import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

# Fields that belong to this process rather than to the model; they are in no dict and no file.
_NOT_SERIALIZED = ("_commit_hash", "_attention", "projection_dim_stated")

# Values of properties are stored under another name: before PyTorch 2.13, torch.compile recurses endlessly when a
# property reads its own name from `__dict__`.
_SERIALIZED_AS = {"_dtype": "dtype"}

_OF_PROPERTIES = {"_attention", "_dtype"}

# 20 times as many as the largest set of image classes in use; a file may list any number in `id2label`.
_MOST_LABELS = 500_000

_BOOLS = {**dict.fromkeys(("true", "1", "y", "yes"), True), **dict.fromkeys(("false", "0", "n", "no"), False)}


class ConfigFields(InheritedFields):
    """The fields shared by all configurations.

    Args:
        output_attentions: default for calls: return the attention weights of all layers.
        output_hidden_states: default for calls: return the hidden states of all layers.
        return_dict: default for calls: return output objects; False for tuples.
        torchscript: return tuples regardless of `return_dict`.
        dtype: dtype of the weights, such as "float16"; dtypes of any framework are converted to their names.
        torch_dtype: the older name of `dtype`.
        pruned_heads: layer index to the attention heads removed from it, by original index.
        tie_word_embeddings: kept and written back; has no effect, as CLIP has no output embeddings.
        architectures: class names of the saved model.
        id2label: class index to name, for classifiers; `LABEL_0` and so on by default.
        label2id: class name to index; the inverse of `id2label` by default.
        num_labels: number of classes, unless `id2label` gives it; 2 by default.
        problem_type: "regression", "single_label_classification", "multi_label_classification", or None to infer it
            from the labels.
        bos_token_id: the token that starts a text.
        pad_token_id: the padding token.
        eos_token_id: the token that ends a text.
        name_or_path: the source of the model.
        attn_implementation: the attention implementation; None for the backend's default. Not written to files.
        transformers_version: the version that wrote the file, if any.
        **kwargs: kept as attributes and written back; they may include the fields of `InheritedFields`.

    Raises:
        ValueError: if a field is invalid; the message names it, its value and the valid values.
    """

    model_type: ClassVar[str] = ""
    base_config_key: ClassVar[str] = ""
    sub_configs: ClassVar[dict[str, type[ConfigFields]]] = {}

    # False if the file did not state projection_dim. A loader may then use the size of the weight.
    projection_dim_stated: bool = True

    # The hub commit that the file was read from.
    _commit_hash: str | None = None

    def __init__(
        self,
        *,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        torchscript: bool = False,
        dtype: Any = None,
        torch_dtype: Any = None,
        pruned_heads: Mapping[Any, list[int]] | None = None,
        tie_word_embeddings: bool = True,
        architectures: list[str] | None = None,
        id2label: Mapping[Any, str] | None = None,
        label2id: dict[str, int] | None = None,
        num_labels: int | None = None,
        problem_type: str | None = None,
        bos_token_id: int | None = None,
        pad_token_id: int | None = None,
        eos_token_id: int | None = None,
        name_or_path: str = "",
        attn_implementation: str | dict[str, str] | None = None,
        transformers_version: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.output_attentions = output_attentions
        self.output_hidden_states = output_hidden_states
        self.return_dict = return_dict
        self.torchscript = torchscript
        self.dtype = dtype if dtype is not None else torch_dtype
        heads_by_layer = with_int_keys(self, "pruned_heads", {} if pruned_heads is None else pruned_heads)
        if not all(isinstance(heads, Iterable) for heads in heads_by_layer.values()):
            shown = shortened(repr(pruned_heads))
            raise ValueError(f"{type(self).__name__}: pruned_heads={shown} is invalid; it must map layers to lists")
        self.pruned_heads: dict[int, list[int]] = {layer: list(heads) for layer, heads in heads_by_layer.items()}
        self.tie_word_embeddings = tie_word_embeddings
        are_names = isinstance(architectures, list | tuple) and all(isinstance(name, str) for name in architectures)
        if architectures is not None and not are_names:
            raise ValueError(
                f"architectures={shortened(repr(architectures))} is invalid; it must be a list of class names"
            )
        self.architectures = None if architectures is None else list(architectures)
        self.problem_type = problem_type
        self._set_labels(id2label, label2id, num_labels)
        self.bos_token_id = bos_token_id
        self.pad_token_id = pad_token_id
        self.eos_token_id = eos_token_id
        self._name_or_path = str(name_or_path)
        self.attn_implementation = attn_implementation
        self.transformers_version = transformers_version
        kwargs.pop("model_type", None)  # determined by the class
        for key, value in kwargs.items():
            is_class_attribute = key != "_commit_hash" and hasattr(type(self), key) and not self._has_field(key)
            if is_class_attribute or key in _OF_PROPERTIES:
                shown = shortened(f"{key}={value!r}")
                raise ValueError(f"{type(self).__name__}: {shown} would shadow a class attribute; rename it")
            setattr(self, key, value)

    def validate(self) -> None:
        """Check every field; called when a config is created, read or updated.

        Raises:
            ValueError: if a field is invalid; the message names it, its value and the valid values.
        """
        check_labels(self, "id2label", "label2id")
        check_choice(self, "problem_type", (None, *PROBLEM_TYPES))

    # Fields with a getter and setter

    @property
    def dtype(self) -> str | None:
        """The dtype of the weights by name, such as "float16"."""
        return self._dtype

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self._dtype: str | None = dtype_name(value)

    @property
    def torch_dtype(self) -> str | None:
        """The older name of `dtype`."""
        return self.dtype

    @torch_dtype.setter
    def torch_dtype(self, value: Any) -> None:
        self.dtype = value

    @property
    def num_labels(self) -> int:
        """The number of classes; setting another number renames them to `LABEL_0` and so on."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, value: int) -> None:
        if value != self.num_labels:
            self._set_labels(None, None, value)

    @property
    def name_or_path(self) -> str:
        """The source of the model."""
        return self._name_or_path

    @name_or_path.setter
    def name_or_path(self, value: object) -> None:
        self._name_or_path = str(value)

    @property
    def use_return_dict(self) -> bool:
        """True if calls return output objects by default."""
        return self.return_dict and not self.torchscript

    @property
    def attn_implementation(self) -> str | None:
        """The attention implementation; None for the backend's default. Setting it also sets the towers'.

        A dict sets the parts separately: {"": "sdpa", "text_config": "eager"}.
        """
        return self._attention

    @attn_implementation.setter
    def attn_implementation(self, value: str | dict[str, str] | None) -> None:
        parts = value if isinstance(value, dict) else dict.fromkeys(("", *self.sub_configs), value)
        self._attention: str | None = parts.get("", self.__dict__.get("_attention"))
        for key in self.sub_configs.keys() & parts.keys() & self.__dict__.keys():
            getattr(self, key).attn_implementation = parts[key]

    # The name in transformers.
    _attn_implementation = attn_implementation

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> ConfigFields:
        """Return the text tower's configuration; a tower returns its own.

        Args:
            decoder: as in transformers, where a text tower counts as one.
            encoder: True without `decoder` finds no text encoder, so the configuration itself is returned.
        """
        has_text = "text_config" in self.sub_configs and (decoder == encoder or decoder)
        text_config: ConfigFields = self.text_config if has_text else self  # type: ignore[attr-defined]
        return text_config

    def _set_labels(
        self, id2label: Mapping[Any, str] | None, label2id: dict[str, int] | None, num_labels: int | None
    ) -> None:
        if id2label is None:
            count = 2 if num_labels is None else num_labels
            if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MOST_LABELS:
                shown = shortened(repr(count))
                raise ValueError(
                    f"{type(self).__name__}: num_labels={shown} is invalid; it must be 0 or more, up to {_MOST_LABELS}"
                )
            self.id2label = {index: f"LABEL_{index}" for index in range(count)}
            label2id = None
        else:
            self.id2label = with_int_keys(self, "id2label", id2label)
            if num_labels is not None and num_labels != len(id2label):
                shown = shortened(num_labels)
                raise ValueError(
                    f"{type(self).__name__}: num_labels={shown} is invalid; id2label has "
                    f"{counted(len(id2label), 'class', 'classes')}"
                )
        check_labels(self, "id2label")
        self.label2id = {label: index for index, label in self.id2label.items()} if label2id is None else label2id

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set fields; a dict for a tower updates that tower.

        Args:
            config_dict: fields to set.

        Raises:
            ValueError: if a field becomes invalid; the new values stay set.
        """
        fields = dict(config_dict)
        if fields.get("id2label") is not None:
            self._set_labels(fields.pop("id2label"), fields.pop("label2id", None), fields.pop("num_labels", None))
        for key, value in fields.items():
            if key in self.sub_configs and isinstance(value, Mapping):
                getattr(self, key).update(value)
            elif key != "model_type":
                setattr(self, key, value)
        self.validate()

    def update_from_string(self, update_str: str) -> None:
        """Set fields from a string, converting each to the type of its present value.

        Args:
            update_str: such as "num_hidden_layers=10,attention_dropout=0.2,return_dict=false,hidden_act=gelu".

        Raises:
            ValueError: if there is no such field, or a field becomes invalid.
            TypeError: if a field's present value is not a number, a bool or a string.
        """
        pairs = dict(part.split("=", 1) for part in update_str.split(","))
        self.update({name: self._converted(name, text) for name, text in pairs.items()})

    def _converted(self, name: str, text: str) -> Any:
        if not hasattr(self, name):
            raise ValueError(f"{type(self).__name__} has no field {name!r}")
        present = getattr(self, name)
        if isinstance(present, bool):
            if text.lower() not in _BOOLS:
                raise ValueError(f"{name}={text!r} is invalid; it must be true or false")
            return _BOOLS[text.lower()]
        if not isinstance(present, int | float | str):
            raise TypeError(f"{name}={text!r}: its present value is {present!r}, not a number, a bool or a string")
        return type(present)(text)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as a new dict, those of the towers as nested dicts."""
        fields = {
            _SERIALIZED_AS.get(key, key): value.to_dict() if isinstance(value, ConfigFields) else copy.deepcopy(value)
            for key, value in self.__dict__.items()
            if key not in _NOT_SERIALIZED
        }
        return {**fields, "model_type": self.model_type}

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields, those of `InheritedFields` included."""
        own = (_SERIALIZED_AS.get(key, key) for key in self.__dict__ if key not in _NOT_SERIALIZED)
        return iter(dict.fromkeys((*own, *INHERITED)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def _has_field(self, name: str) -> bool:
        descriptor = getattr(type(self), name, None)
        is_set = name in self.__dict__ or name in INHERITED
        return is_set or (isinstance(descriptor, property) and descriptor.fset is not None)
