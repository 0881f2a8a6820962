"""CLIP for Flax, on NNX. The model classes are not written yet; outputs are known to JAX once this is imported."""

from dataclasses import fields

from jax.tree_util import register_dataclass

from clip_core.outputs import OUTPUT_CLASSES

# jax.jit takes outputs apart and puts them together again; it has to know their fields.
for _output_class in OUTPUT_CLASSES:
    register_dataclass(_output_class, [field.name for field in fields(_output_class)], [])
