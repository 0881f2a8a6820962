"""Every tolerance of the tests, once, with its reason.

A row that has both parts of |a - b| <= atol + rtol * |b| is a dict, given as `**FLOAT32`.
"""

# Unit-norm embeddings in fp32, absolute: rounding over a dozen layers stays below 3e-6; a wrong formula does not.
EMBEDDINGS = 1e-5

# The same embeddings from fewer tokens, absolute: the same sums, taken by kernels for another shape.
SAME_EMBEDDINGS = 1e-6

# Hidden states, attentions and gradients in fp32, relative to the largest of the tensor.
HIDDEN_STATES = 1e-4

# Probabilities in fp32, absolute: a soft-max over logits up to 100 times the embeddings' error.
PROBABILITIES = 1e-4

# The mean of an image's pixel values against a stored one, absolute: releases of Pillow round a byte differently.
STORED_PIXELS = 1e-4

# One matrix product in another order of summation, relative.
ONE_LAYER = 1e-5

# One step of rounding, or a few, in numbers near 1 in fp32: one operation, or one sum over few terms.
ROUNDING = 1e-6

# One operation in fp32, by two kernels.
FLOAT32_OPERATION = {"rtol": 1e-5, "atol": 1e-6}

# Outputs of a tiny model in fp32, by two kernels or in batches of two sizes: sums in another order, over a few layers.
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}

# Its gradients, and its weights after steps along them: they add up the rounding of both directions.
FLOAT32_GRADIENTS = {"rtol": 1e-3, "atol": 1e-5}

# Gradients of a sum over all outputs, which reach hundreds, added up over images in another order.
SUMMED_GRADIENTS = {"rtol": 1e-3, "atol": 1e-4}

# Gradients in fp32 from activations computed again: the same sums, fused in another way by XLA.
CHECKPOINTED_GRADIENTS = {"rtol": 1e-4, "atol": 1e-4}

# Gradients in fp32, relative to the largest: of the tensor, or of all parameters.
GRADIENTS = 1e-5

# A gradient that is zero by its formula, such as that of a key's bias, absolute.
ZERO_GRADIENT = 1e-6

# One operation in fp64 against its formula in numpy.
FLOAT64_OPERATION = {"rtol": 1e-12, "atol": 1e-12}

# A tiny model in fp64, outputs and gradients, by two kernels: 1e-12 was seen, where fp32 would show 1e-5.
FLOAT64 = {"rtol": 1e-9, "atol": 1e-11}

# A loss in fp32 by another path, relative: one number near 1, averaged over a batch.
LOSS = 1e-5

# A loss after a few steps of training, relative: each step carries on the rounding of those before.
LOSS_AFTER_STEPS = 1e-4

# Half precision against single on a GPU, relative to the largest value: 10 and 7 bits of fraction, over a few layers.
HALF_PRECISION = {"float16": 5e-3, "bfloat16": 4e-2}

# Gradients likewise, relative to the largest of all parameters.
HALF_PRECISION_GRADIENTS = {"float16": 1e-2, "bfloat16": 8e-2}

# Logits of a tiny model in half precision against single: cosines to two digits, times a temperature of 14.
HALF_PRECISION_LOGITS = {"rtol": 0.0, "atol": 0.1}

# A slope by differences in fp32, relative: a step of 1e-3 leaves three digits of the difference.
DIFFERENCE_QUOTIENT = 0.02

# The standard deviation of thousands of drawn weights, relative: three times its own, 1 / sqrt(2 n).
DRAWN_WEIGHTS = 0.05

# Likewise of 60,000 and of 36.
MANY_DRAWN_WEIGHTS = 0.02
FEW_DRAWN_WEIGHTS = 0.2

# The mean cosine of embeddings with themselves plus noise, relative: the noise is not quite at a right angle.
MEAN_COSINE = 0.01

# The mean of 40,000 draws of dropout, each 0 or 2, absolute: four times its standard deviation.
MEAN_OF_DRAWS = 0.02

# Losses of the same steps in two frameworks, relative: their optimizers round otherwise, and each step adds to it.
LOSS_ACROSS_FRAMEWORKS = 1e-3

# A loss over a whole batch and in chunks, with its gradients: sums split in two, scaled by a temperature of 20.
CHUNKED = {"rtol": 1e-4, "atol": 1e-5}

# A few steps of rounding in numbers below 1 in fp32, absolute.
ROUNDING_BELOW_ONE = 1e-7

# One step of rounding, or a few, in fp64, relative.
FLOAT64_ROUNDING = 1e-14

# The reference in numpy and fp64 against PyTorch's: outputs, and what comes of gradients and a step of AdamW.
FLOAT64_REFERENCE = {"rtol": 1e-11, "atol": 1e-12}
FLOAT64_REFERENCE_GRADIENTS = {"rtol": 1e-10, "atol": 1e-12}

# A derivative in fp64 against central differences of a step that leaves seven digits.
FLOAT64_DIFFERENCES = {"rtol": 1e-7, "atol": 1e-8}

# Weights that an optimizer stops at, absolute: it stops where the gradient is small, not zero.
FITTED = 1e-4

# Likewise where two starts end, each on its own side.
FITTED_TWICE = 1e-3

# Accuracies of two fits of one problem, absolute: a few held-out samples lie at the border.
ACCURACY = 0.02

# A share of several hundred draws, absolute: four times its standard deviation; and of two hundred.
SHARE_OF_DRAWS = 0.1
SHARE_OF_FEW_DRAWS = 0.15

# A height in a plot, in pixels: they are written to one digit.
PLOTTED = 0.2

# A number of a configuration that other libraries write with fewer digits, absolute.
WRITTEN = 1e-3

# Operations of a model by our count against the published one, relative: what counts differs by a few terms.
PUBLISHED_OPERATIONS = {"image": 0.02, "text": 0.03}

# A number that a page shows with three digits, absolute: half of the last, and the rounding of fp32.
THREE_DIGITS = 5.1e-4

# A number that a table shows with two digits, absolute.
SHOWN = 0.02

# Embeddings in bfloat16, absolute: eight bits of a number of at most 1.
BFLOAT16_EMBEDDINGS = 1e-2

# Outputs of a tiny model in bfloat16 against float32, relative to the largest of the tensor.
BFLOAT16_OUTPUTS = 0.05

# Probabilities of a trained model in bfloat16, absolute: its logits are off by some tenths.
HALF_PRECISION_PROBABILITIES = 0.1

# The least that hidden states of half precision differ by: float32 would stay below it.
SHOWS_HALF_PRECISION = 1e-5

# Outputs of a tiny model in fp32 by the same operations, exported or saved, relative to the largest of the tensor.
SAME_OUTPUTS = 1e-5

# The proof's own tolerance where both sides are the reference, in fp64.
PROOF_IN_FLOAT64 = 1e-10

# A gradient below this part of the largest is rounding alone, as that of a key's bias: it is held against the largest.
ROUNDING_ALONE = 1e-3

# A part of the learning rate: the largest step of AdamW along a gradient that is rounding alone.
HARDLY_MOVED = 1e-5

# The least that two formulas of one name differ by, absolute: gelu and quick_gelu differ by 0.02.
ANOTHER_FORMULA = 0.01

# The least that embeddings of other inputs differ by, absolute: a hundred times what rounding does.
OTHER_INPUTS = 1e-3

# The least standard deviation of draws of dropout, which does nothing if they are all alike.
SPREAD_OF_DRAWS = 0.1

# A share of 300, absolute: three times its standard deviation.
SHARE_OF_300 = 0.08

# The share that a model which knows nothing stays below: several times chance.
LITTLE_ABOVE_CHANCE = 0.1

# The least distance of two names in a plot, in its own units: they must not overlap.
NAMES_APART = 0.03

# The least that a step of training moves an output, absolute: more than rounding does.
MOVED_BY_TRAINING = 1e-5

# Pixels of 8 bits, absolute, where two programs round a float to the nearest: they may take the two neighbours.
NEAREST_BYTE = 1

# Colors of YCbCr and CIELAB in RGB, of 8 bits, absolute: each byte of the first two stands for up to four of the last.
CONVERTED_COLOR = 4

# The mean difference of two drawings, in pixels of 8 bits: releases of Pillow draw edges a little differently.
DRAWN_PIXELS = 1

# Colors that the generator of the shapes varies at random, of 8 bits, absolute: by 14 in a shape, by 6 in a background.
VARIED_SHAPE = 14
VARIED_GROUND = 6

# One pixel of such a shape: its own 14, and five standard deviations of noise.
VARIED_PIXEL = 30

# The least that a color without a name differs by from those that it must not be taken for, of 8 bits, absolute.
ANOTHER_COLOR = 60

# Half a step of 8 bits: a sum that is off by less rounds to the right byte, or to the one beside it.
HALF_A_BYTE = 0.5

# Errors of logits by those of embeddings: each is a cosine of two embeddings, times a temperature of 5.5.
LOGITS_BY_EMBEDDINGS = 10

# Rounding errors of two kernels of one dtype, one by the other: sums of equal length in another order.
ONE_DTYPE_BY_ANOTHER_KERNEL = 2

# Seconds of processor time, which Linux counts in ticks of 10 ms for user and system each.
PROCESSOR_TICKS = {"abs": 0.04}

# A uniform color in a JPEG or WebP file, of 8 bits, absolute: it is kept in YCbCr, rounded there and back.
LOSSY_COLOR = 3
