"""What a step is told: a block of integers, of which most are addresses. Both sides of the call read this."""

from __future__ import annotations

FORMATS = ("float32", "float16", "bfloat16", "q8", "q4", "q4m")
F32, F16, BF16, Q8, Q4, Q4M = range(len(FORMATS))
"""Formats of weights: floating point; groups of 8 bits; of 4 bits; of 4 bits with an offset."""
ACTIVATIONS = ("silu", "quick_gelu", "gelu_tanh", "gelu", "relu")
SILU, QUICK_GELU, GELU_TANH, GELU, RELU = range(len(ACTIVATIONS))

# A linear layer, whose result replaces what it is written to or is added to it (ADDS). Its output channels
# are in panels; its inputs are padded to whole groups.
FORMAT, PANELS, PANEL_BYTES, INPUTS, WEIGHTS, BIAS, ADDS = range(7)
LINEAR = 7
"""Integers that describe a linear layer."""

# A layer of the network. A norm is the address of its weight (0: there is none) and that of its bias.
NORM1, NORM2, Q_NORM, K_NORM, NORM1_OUT, NORM2_OUT = range(0, 12, 2)
QKV, OUT, UP, DOWN = range(12, 12 + 4 * LINEAR, LINEAR)
WINDOW = 12 + 4 * LINEAR
"""Positions that a query sees, itself included; 0: all."""
ROPE_NUMBER = WINDOW + 1
"""Which of the ropes turns queries and keys."""
LAYER = ROPE_NUMBER + 1
"""Integers that describe a layer."""

# A rope: half of the channels of a head that rotate, and the addresses of cos and sin, (positions, rotated)
# float32, or (rows, rotated) if BY_ROW.
ROTATED, COS, SIN, BY_ROW = range(4)
ROPE = 4
"""Integers that describe a rope."""

# The block of a step.
(
    KIND,  # LAYERS_KIND or PRODUCT_KIND
    SYNC,  # address of two integers on their own cache lines: threads that arrived, rounds
    THREADS,
    LAYERS,
    FIRST_LAYER,  # address of the first layer's description
    WIDTH,
    HEADS,
    KV_HEADS,
    HEAD_DIM,
    MLP,  # inputs of the MLP's last layer, padded
    GATED,
    ACTIVATION,
    RMS,
    PARALLEL,
    EPS,  # address of a float32
    SCALE,  # address of a float32, the factor of the scores
    SOFTCAP,  # address of a float32: scores become c · tanh(s / c); 0: they stay
    SEPARATE,  # attention and the MLP write to BRANCH, which is then normalised, scaled and added
    RESIDUAL,  # address of a float32, the factor of what is added
    QK_TOGETHER,  # all heads' queries, and all keys, are normalised as one row
    QK_STRIDE,  # bytes from a head's weights of these norms to the next one's
    ROPES,  # address of their descriptions
    FINAL_NORM,  # two integers
    _,
    SEQUENCES,
    TOKENS,  # of each sequence
    LENGTH,  # positions in the cache before this step
    CAPACITY,
    CACHE_ROWS,  # sequences that the cache has room for
    CACHE,  # address of (layers, 2, cache_rows, kv_heads, capacity, head_dim) float32
    PADDING,  # address of an int64 for each sequence
    MAX_POSITION,
    X,  # address of (rows, X_BYTES): the residual stream
    NORMED,  # the same shape
    SECOND,  # the same shape, for the second norm of a layer whose MLP reads the same input
    BRANCH,  # the same shape
    QKVS,
    ATTENDED,
    HIDDEN,
    ROUNDED,
    ROUNDED2,
    SCORES,  # address of working memory for each thread
    X_BYTES,  # bytes of a row
    QKV_BYTES,
    ATTENDED_BYTES,
    HIDDEN_BYTES,
    ROUNDED_BYTES,
    SCORES_BYTES,  # of a thread
    FEATURES,  # address of the result, (rows, width) float32
) = range(49)
BLOCK = 49
LAYERS_KIND, PRODUCT_KIND = range(2)

# The block of a single product; it begins with KIND, SYNC and THREADS.
HEAD_ROWS, HEAD_X, HEAD_X_BYTES, HEAD_ROUNDED, HEAD_ROUNDED_BYTES, HEAD_OUT, HEAD_OUT_BYTES = range(3, 10)
HEAD_LINEAR = 10
HEAD_BLOCK = HEAD_LINEAR + LINEAR
