"""The names of CLIP's parameters in each library's files: tables of rows, usable in both directions.

A layout is a table of rows. A row has the canonical name, or several if the file stores them as one tensor; the name in
the file; and the transform of the values. A word in braces stands for one of a few words, the same one on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

# The patterns for the words in braces.
WORDS = {
    "layer": r"\d+",
    "tower": "text_model|vision_model",
    "projection": "q_proj|k_proj|v_proj|out_proj",
    "linear": "fc1|fc2",
    "norm": "layer_norm1|layer_norm2",
    "outer_norm": "pre_layrnorm|post_layernorm|final_layer_norm",
    "head": "text_projection|visual_projection|classifier",
    "kind": "weight|bias",
}


@dataclass(frozen=True)
class Row:
    """One kind of parameter.

    Attributes:
        canonical: the canonical name; or, in order, the names of all parameters that the file stores as one tensor.
        in_file: the name in the file.
        transform: the transform of the values: a name in `converters.naming.transforms.TRANSFORMS`.
    """

    canonical: str | tuple[str, ...]
    in_file: str
    transform: str = "as it is"

    @property
    def parts(self) -> tuple[str, ...]:
        """The canonical names, as a tuple even if there is only one."""
        return (self.canonical,) if isinstance(self.canonical, str) else self.canonical


@dataclass(frozen=True, eq=False)  # compared by identity; comparing and hashing all rows would be slow
class Layout:
    """The names of the parameters in a library's files, and the layout of their values.

    Attributes:
        name: the name of the layout in messages.
        rows: the table.
        separator: the separator between the segments of a name in the file.
        suffix: a suffix without meaning that every name in the file has.
        constants: endings of the names in the file that are not parameters.
        is_canonical: True if the names are the canonical ones, after any prefixes of a larger model.
    """

    name: str
    rows: tuple[Row, ...]
    separator: str
    suffix: str = ""
    constants: tuple[str, ...] = ()
    is_canonical: bool = False


# The layout of transformers' TensorFlow classes, in `tf_model.h5` and in safetensors.
_TF_LAYER = "{tower}/encoder/layers_._{layer}"
TENSORFLOW = Layout(
    "TensorFlow",
    (
        Row("logit_scale", "logit_scale", "scalar to vector"),
        Row("text_model.embeddings.token_embedding.weight", "text_model/embeddings/token_embedding/weight"),
        Row("vision_model.embeddings.class_embedding", "vision_model/embeddings/class_embedding"),
        Row(
            "vision_model.embeddings.patch_embedding.weight",
            "vision_model/embeddings/patch_embedding/kernel",
            "OIHW to HWIO",
        ),
        Row("{tower}.embeddings.position_embedding.weight", "{tower}/embeddings/position_embedding/embeddings"),
        Row(
            "{tower}.encoder.layers.{layer}.self_attn.{projection}.weight",
            f"{_TF_LAYER}/self_attn/{{projection}}/kernel",
            "transpose",
        ),
        Row("{tower}.encoder.layers.{layer}.self_attn.{projection}.bias", f"{_TF_LAYER}/self_attn/{{projection}}/bias"),
        Row("{tower}.encoder.layers.{layer}.mlp.{linear}.weight", f"{_TF_LAYER}/mlp/{{linear}}/kernel", "transpose"),
        Row("{tower}.encoder.layers.{layer}.mlp.{linear}.bias", f"{_TF_LAYER}/mlp/{{linear}}/bias"),
        Row("{tower}.encoder.layers.{layer}.{norm}.weight", f"{_TF_LAYER}/{{norm}}/gamma"),
        Row("{tower}.encoder.layers.{layer}.{norm}.bias", f"{_TF_LAYER}/{{norm}}/beta"),
        Row("{tower}.{outer_norm}.weight", "{tower}/{outer_norm}/gamma"),
        Row("{tower}.{outer_norm}.bias", "{tower}/{outer_norm}/beta"),
        Row("{head}.weight", "{head}/kernel", "transpose"),
        Row("classifier.bias", "classifier/bias"),
    ),
    separator="/",
    suffix=":0",
)

# The layout of transformers' Flax classes, in `flax_model.msgpack` and, with dots, in safetensors.
_FLAX_LAYER = "{tower}/encoder/layers/{layer}"
FLAX = Layout(
    "Flax",
    (
        Row("logit_scale", "logit_scale"),
        Row("text_model.embeddings.token_embedding.weight", "text_model/embeddings/token_embedding/embedding"),
        Row("vision_model.embeddings.class_embedding", "vision_model/embeddings/class_embedding"),
        Row(
            "vision_model.embeddings.patch_embedding.weight",
            "vision_model/embeddings/patch_embedding/kernel",
            "OIHW to HWIO",
        ),
        Row("{tower}.embeddings.position_embedding.weight", "{tower}/embeddings/position_embedding/embedding"),
        Row(
            "{tower}.encoder.layers.{layer}.self_attn.{projection}.weight",
            f"{_FLAX_LAYER}/self_attn/{{projection}}/kernel",
            "transpose",
        ),
        Row(
            "{tower}.encoder.layers.{layer}.self_attn.{projection}.bias", f"{_FLAX_LAYER}/self_attn/{{projection}}/bias"
        ),
        Row("{tower}.encoder.layers.{layer}.mlp.{linear}.weight", f"{_FLAX_LAYER}/mlp/{{linear}}/kernel", "transpose"),
        Row("{tower}.encoder.layers.{layer}.mlp.{linear}.bias", f"{_FLAX_LAYER}/mlp/{{linear}}/bias"),
        Row("{tower}.encoder.layers.{layer}.{norm}.weight", f"{_FLAX_LAYER}/{{norm}}/scale"),
        Row("{tower}.encoder.layers.{layer}.{norm}.bias", f"{_FLAX_LAYER}/{{norm}}/bias"),
        Row("{tower}.{outer_norm}.weight", "{tower}/{outer_norm}/scale"),
        Row("{tower}.{outer_norm}.bias", "{tower}/{outer_norm}/bias"),
        Row("{head}.weight", "{head}/kernel", "transpose"),
        Row("classifier.bias", "classifier/bias"),
    ),
    separator="/",
)


def _openai_tower(canonical: str, in_file: str) -> tuple[Row, ...]:
    """Return the rows of a tower's encoder; OpenAI's files name it differently in each tower."""
    layer, block = f"{canonical}.encoder.layers.{{layer}}", f"{in_file}transformer.resblocks.{{layer}}"
    return (
        *(
            Row(
                tuple(f"{layer}.self_attn.{part}_proj.{kind}" for part in "qkv"),
                f"{block}.attn.in_proj_{kind}",
                "q, k, v in one",
            )
            for kind in ("weight", "bias")
        ),
        Row(f"{layer}.self_attn.out_proj.{{kind}}", f"{block}.attn.out_proj.{{kind}}"),
        Row(f"{layer}.mlp.fc1.{{kind}}", f"{block}.mlp.c_fc.{{kind}}"),
        Row(f"{layer}.mlp.fc2.{{kind}}", f"{block}.mlp.c_proj.{{kind}}"),
        Row(f"{layer}.layer_norm1.{{kind}}", f"{block}.ln_1.{{kind}}"),
        Row(f"{layer}.layer_norm2.{{kind}}", f"{block}.ln_2.{{kind}}"),
    )


# The layout of OpenAI's code and open_clip. open_clip's CustomTextCLIP puts `text.` before the text tower's names.
OPENAI = Layout(
    "OpenAI",
    (
        Row("logit_scale", "logit_scale"),
        Row("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
        Row("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        *_openai_tower("text_model", ""),
        Row("text_model.final_layer_norm.{kind}", "ln_final.{kind}"),
        Row("text_projection.weight", "text_projection", "transpose"),
        Row("vision_model.embeddings.class_embedding", "visual.class_embedding"),
        Row("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
        Row("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
        Row("vision_model.pre_layrnorm.{kind}", "visual.ln_pre.{kind}"),
        *_openai_tower("vision_model", "visual."),
        Row("vision_model.post_layernorm.{kind}", "visual.ln_post.{kind}"),
        Row("visual_projection.weight", "visual.proj", "transpose"),
    ),
    separator=".",
    # Numbers and masks beside the weights in OpenAI's archives.
    constants=("attn_mask", "input_resolution", "context_length", "vocab_size"),
)

# The layout of transformers' PyTorch classes, whose names are the canonical ones. `converters.naming.names` handles
# their prefixes.
HUGGING_FACE = Layout(
    "Hugging Face",
    tuple(Row(name, name) for row in TENSORFLOW.rows for name in row.parts),
    separator=".",
    is_canonical=True,
)
