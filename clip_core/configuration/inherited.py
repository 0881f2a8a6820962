"""Fields that all configurations in transformers have and CLIP does not use."""

from __future__ import annotations

from typing import Any, ClassVar


class InheritedFields:
    """Defaults of the fields that code for any transformers model reads, copied from version 4.57.6.

    A configuration stores and writes only fields that a file or a caller has set.
    """

    # Encoders and decoders
    is_encoder_decoder: bool = False
    is_decoder: bool = False
    add_cross_attention: bool = False
    cross_attention_hidden_size: int | None = None
    tie_encoder_decoder: bool = False
    chunk_size_feed_forward: int = 0

    # Tasks and tokenizers
    finetuning_task: str | None = None
    task_specific_params: dict[str, Any] | None = None
    tokenizer_class: str | None = None
    prefix: str | None = None
    sep_token_id: int | None = None
    decoder_start_token_id: int | None = None

    # Generation
    max_length: int = 20
    min_length: int = 0
    do_sample: bool = False
    early_stopping: bool = False
    num_beams: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    length_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: list[list[int]] | None = None
    num_return_sequences: int = 1
    output_scores: bool = False
    return_dict_in_generate: bool = False
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    remove_invalid_values: bool = False
    exponential_decay_length_penalty: tuple[int, float] | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None

    # Training and TensorFlow
    gradient_checkpointing: bool = False
    tf_legacy_loss: bool = False
    use_bfloat16: bool = False

    # The class, not the model
    attribute_map: ClassVar[dict[str, str]] = {}
    has_no_defaults_at_init: ClassVar[bool] = False
    keys_to_ignore_at_inference: ClassVar[list[str]] = []
    base_model_tp_plan: ClassVar[dict[str, Any] | None] = None
    base_model_pp_plan: ClassVar[dict[str, Any] | None] = None
    base_model_ep_plan: ClassVar[dict[str, Any] | None] = None


INHERITED = tuple(name for name, kind in InheritedFields.__annotations__.items() if "ClassVar" not in kind)
