"""Every tolerance of the tests, once, with its reason."""

# Unit-norm embeddings in fp32, absolute: rounding over a dozen layers stays below 3e-6; a wrong formula does not.
EMBEDDINGS = 1e-5

# The same embeddings from fewer tokens, absolute: the same sums, taken by kernels for another shape.
SAME_EMBEDDINGS = 1e-6

# Hidden states, attentions and gradients in fp32, relative to the largest of the tensor.
HIDDEN_STATES = 1e-4

# Probabilities in fp32, absolute: a soft-max over logits up to 100 times the embeddings' error.
PROBABILITIES = 1e-4

# One matrix product in another order of summation, relative.
ONE_LAYER = 1e-5

# Half precision against single on a GPU, relative to the largest value: 10 and 7 bits of fraction, over a few layers.
HALF_PRECISION = {"torch.float16": 5e-3, "torch.bfloat16": 4e-2}

# Gradients likewise, relative to the largest of all parameters.
HALF_PRECISION_GRADIENTS = {"torch.float16": 1e-2, "torch.bfloat16": 8e-2}
