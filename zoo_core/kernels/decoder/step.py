"""One step of a decoder: all its layers for some rows, computed by several threads in one call each.

The threads share every product's output channels, and every other operation's rows. They wait for each other
where one reads what another wrote.
"""

from __future__ import annotations

from zoo_core.kernels.decoder import layout as l
from zoo_core.kernels.decoder.attention import attend
from zoo_core.kernels.decoder.elements import add_scaled, copy, gate, normalise, rotate, round_groups
from zoo_core.kernels.decoder.products import (
    FLOATS,
    GROUP,
    compiled,
    multiply_bf16,
    multiply_f16,
    multiply_f32,
    multiply_q4,
    multiply_q4m,
    multiply_q8,
)
from zoo_core.kernels.decoder.simd import (
    LANES,
    f32,
    fetch_add,
    give_way,
    load_f32,
    load_i64,
    load_shared,
    pause,
    store_shared,
)

SPINS = 300
"""How often a thread looks whether the others are there before it lets another program run."""


@compiled
def wait_for_all(sync, threads):
    """Return once all threads are here."""
    if threads == 1:
        return
    round_ = load_shared(sync + 64)
    if fetch_add(sync, 1) == threads - 1:
        store_shared(sync, 0)
        store_shared(sync + 64, round_ + 1)
        return
    spins = 0
    while load_shared(sync + 64) == round_:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            give_way()


@compiled
def get(block, place):
    return load_i64(block + 8 * place)


@compiled
def product(linear, thread, threads, rows, x, x_bytes, rounded, rounded_bytes, out, out_bytes):
    """Multiply rows, of which ``rounded`` are the same in int16, by this thread's share of a linear layer."""
    panels, size, k = get(linear, l.PANELS), get(linear, l.PANEL_BYTES), get(linear, l.INPUTS)
    weights, bias = get(linear, l.WEIGHTS), get(linear, l.BIAS)
    first, last = panels * thread // threads, panels * (thread + 1) // threads
    adds, kind = get(linear, l.ADDS), get(linear, l.FORMAT)
    if kind == l.F32:
        multiply_f32(weights, size, k, bias, first, last, rows, x, x_bytes, out, out_bytes, adds)
    elif kind == l.F16:
        multiply_f16(weights, size, k, bias, first, last, rows, x, x_bytes, out, out_bytes, adds)
    elif kind == l.BF16:
        multiply_bf16(weights, size, k, bias, first, last, rows, x, x_bytes, out, out_bytes, adds)
    elif kind == l.Q8:
        multiply_q8(weights, size, k, bias, first, last, rows, rounded, rounded_bytes, out, out_bytes, adds)
    elif kind == l.Q4:
        multiply_q4(weights, size, k, bias, first, last, rows, rounded, rounded_bytes, out, out_bytes, adds)
    else:
        multiply_q4m(weights, size, k, bias, first, last, rows, rounded, rounded_bytes, out, out_bytes, adds)


@compiled
def rounds(linear):
    """Return True if a linear layer reads int16."""
    return get(linear, l.FORMAT) >= l.Q8


@compiled
def read_norm(block, norm, linear, row, to, rounded):
    """Normalise a row of the residual stream, and round it if the linear layer wants that."""
    x_bytes, width = get(block, l.X_BYTES), get(block, l.WIDTH)
    x, at = get(block, l.X) + row * x_bytes, to + row * x_bytes
    if get(norm, 0):
        eps, rms = load_f32(get(block, l.EPS)), get(block, l.RMS)
        normalise(x, at, width, get(norm, 0), get(norm, 1), eps, rms)
    else:
        copy(x, at, width)
    if rounds(linear):
        k = get(linear, l.INPUTS)
        round_groups(at, rounded + row * get(block, l.ROUNDED_BYTES), k, 0, k // GROUP)


@compiled
def add_branch(block, norm, row):
    """Normalise what attention or the MLP returned for a row, and add it to the residual stream."""
    x_bytes, width = get(block, l.X_BYTES), get(block, l.WIDTH)
    branch = get(block, l.BRANCH) + row * x_bytes
    if get(norm, 0):
        eps, rms = load_f32(get(block, l.EPS)), get(block, l.RMS)
        normalise(branch, branch, width, get(norm, 0), get(norm, 1), eps, rms)
    add_scaled(get(block, l.X) + row * x_bytes, branch, load_f32(get(block, l.RESIDUAL)), width)


@compiled
def normalise_together(block, layer, row):
    """Normalise all queries of a row as one, and all keys as one."""
    heads, kv_heads, dims = get(block, l.HEADS), get(block, l.KV_HEADS), get(block, l.HEAD_DIM)
    eps, rms = load_f32(get(block, l.EPS)), get(block, l.RMS)
    queries = get(block, l.QKVS) + row * get(block, l.QKV_BYTES)
    keys = queries + FLOATS * heads * dims
    norm = layer + 8 * l.Q_NORM
    normalise(queries, queries, heads * dims, get(norm, 0), get(norm, 1), eps, rms)
    norm = layer + 8 * l.K_NORM
    normalise(keys, keys, kv_heads * dims, get(norm, 0), get(norm, 1), eps, rms)


@compiled
def rotate_and_cache(block, layer, number, row, head):
    """Normalise and rotate the queries and the key of a group of heads; write key and value to the cache."""
    heads, kv_heads, dims = get(block, l.HEADS), get(block, l.KV_HEADS), get(block, l.HEAD_DIM)
    group, bytes_ = heads // kv_heads, FLOATS * dims
    sequence, token = row // get(block, l.TOKENS), row % get(block, l.TOKENS)
    slot = get(block, l.LENGTH) + token
    position = slot - get(get(block, l.PADDING), sequence)
    position = min(max(position, 0), get(block, l.MAX_POSITION))
    rope = get(block, l.ROPES) + 8 * l.ROPE * get(layer, l.ROPE_NUMBER)
    half = get(rope, l.ROTATED)
    turn = FLOATS * half * (row if get(rope, l.BY_ROW) else position)
    together, stride = get(block, l.QK_TOGETHER), get(block, l.QK_STRIDE)
    qkv = get(block, l.QKVS) + row * get(block, l.QKV_BYTES)
    key, value = qkv + bytes_ * (heads + head), qkv + bytes_ * (heads + kv_heads + head)
    for index in range(group + 1):
        number_of_head = head if index == group else head * group + index
        at = key if index == group else qkv + bytes_ * number_of_head
        norm = layer + 8 * (l.K_NORM if index == group else l.Q_NORM)
        if get(norm, 0) and not together:
            eps, rms, own = load_f32(get(block, l.EPS)), get(block, l.RMS), stride * number_of_head
            normalise(at, at, dims, get(norm, 0) + own, get(norm, 1) + own, eps, rms)
        if half:
            rotate(at, get(rope, l.COS) + turn, get(rope, l.SIN) + turn, half)
    cache_rows, capacity = get(block, l.CACHE_ROWS), get(block, l.CAPACITY)
    keys = ((number * 2 * cache_rows + sequence) * kv_heads + head) * capacity + slot
    values = keys + cache_rows * kv_heads * capacity
    copy(key, get(block, l.CACHE) + keys * bytes_, dims)
    copy(value, get(block, l.CACHE) + values * bytes_, dims)


@compiled
def attend_group(block, layer, number, row, head, scores):
    """Compute the attention of a row for the heads that share keys and values."""
    heads, kv_heads, dims = get(block, l.HEADS), get(block, l.KV_HEADS), get(block, l.HEAD_DIM)
    group, bytes_ = heads // kv_heads, FLOATS * dims
    sequence, token = row // get(block, l.TOKENS), row % get(block, l.TOKENS)
    slot = get(block, l.LENGTH) + token
    window = get(layer, l.WINDOW)
    first = get(get(block, l.PADDING), sequence)
    if window:
        first = max(first, slot - window + 1)
    first = min(first, slot)  # padding sees itself
    cache_rows, capacity = get(block, l.CACHE_ROWS), get(block, l.CAPACITY)
    keys = ((number * 2 * cache_rows + sequence) * kv_heads + head) * capacity + first
    values = keys + cache_rows * kv_heads * capacity
    queries = get(block, l.QKVS) + row * get(block, l.QKV_BYTES) + bytes_ * head * group
    out = get(block, l.ATTENDED) + row * get(block, l.ATTENDED_BYTES) + bytes_ * head * group
    cache, room = get(block, l.CACHE), (capacity + LANES - 1) // LANES * LANES
    scale, softcap = load_f32(get(block, l.SCALE)), get(block, l.SOFTCAP)
    cap = load_f32(softcap) if softcap else f32(0)
    count = slot + 1 - first
    keys, values = cache + keys * bytes_, cache + values * bytes_
    attend(queries, keys, values, out, count, group, dims, scale, cap, scores, room)


@compiled
def round_share(block, linear, thread, threads, rows, x, x_bytes):
    """Round this thread's share of the inputs of a linear layer."""
    if rounds(linear):
        k = get(linear, l.INPUTS)
        groups = k // GROUP
        rounded, bytes_ = get(block, l.ROUNDED), get(block, l.ROUNDED_BYTES)
        for row in range(rows):
            first, last = groups * thread // threads, groups * (thread + 1) // threads
            round_groups(x + row * x_bytes, rounded + row * bytes_, k, first, last)


@compiled
def run(block, thread):
    """Compute what a block describes: a thread's part of it."""
    if get(block, l.KIND) == l.LAYERS_KIND:
        all_layers(block, thread)
    else:
        single_product(block, thread)


@compiled
def all_layers(block, thread):
    """Compute all layers and the last norm, for rows whose embeddings are in X."""
    sync, threads = get(block, l.SYNC), get(block, l.THREADS)
    rows, tokens = get(block, l.SEQUENCES) * get(block, l.TOKENS), get(block, l.TOKENS)
    kv_heads, parallel = get(block, l.KV_HEADS), get(block, l.PARALLEL)
    x, normed, second = get(block, l.X), get(block, l.NORMED), get(block, l.SECOND)
    qkvs, attended, hidden = get(block, l.QKVS), get(block, l.ATTENDED), get(block, l.HIDDEN)
    x_bytes, qkv_bytes = get(block, l.X_BYTES), get(block, l.QKV_BYTES)
    attended_bytes, hidden_bytes = get(block, l.ATTENDED_BYTES), get(block, l.HIDDEN_BYTES)
    rounded, rounded2 = get(block, l.ROUNDED), get(block, l.ROUNDED2)
    rounded_bytes = get(block, l.ROUNDED_BYTES)
    scores = get(block, l.SCORES) + thread * get(block, l.SCORES_BYTES)
    gated, mlp = get(block, l.GATED), get(block, l.MLP)
    separate, together = get(block, l.SEPARATE), get(block, l.QK_TOGETHER)
    added = get(block, l.BRANCH) if separate else x
    first_row, last_row = rows * thread // threads, rows * (thread + 1) // threads
    first_item, last_item = rows * kv_heads * thread // threads, rows * kv_heads * (thread + 1) // threads
    for number in range(get(block, l.LAYERS)):
        layer = get(block, l.FIRST_LAYER) + 8 * l.LAYER * number
        qkv, out = layer + 8 * l.QKV, layer + 8 * l.OUT
        up, down = layer + 8 * l.UP, layer + 8 * l.DOWN
        for row in range(first_row, last_row):
            read_norm(block, layer + 8 * l.NORM1, qkv, row, normed, rounded)
            if parallel:
                read_norm(block, layer + 8 * l.NORM2, up, row, second, rounded2)
        wait_for_all(sync, threads)
        product(qkv, thread, threads, rows, normed, x_bytes, rounded, rounded_bytes, qkvs, qkv_bytes)
        wait_for_all(sync, threads)
        if together:
            for row in range(first_row, last_row):
                normalise_together(block, layer, row)
            wait_for_all(sync, threads)
        for item in range(first_item, last_item):
            rotate_and_cache(block, layer, number, item // kv_heads, item % kv_heads)
        if tokens > 1:  # otherwise a thread's rows see nothing new but what it wrote itself
            wait_for_all(sync, threads)
        for item in range(first_item, last_item):
            attend_group(block, layer, number, item // kv_heads, item % kv_heads, scores)
        wait_for_all(sync, threads)
        if rounds(out):
            round_share(block, out, thread, threads, rows, attended, attended_bytes)
            wait_for_all(sync, threads)
        product(out, thread, threads, rows, attended, attended_bytes, rounded, rounded_bytes, added, x_bytes)
        wait_for_all(sync, threads)
        if separate:
            for row in range(first_row, last_row):
                add_branch(block, layer + 8 * l.NORM1_OUT, row)
        if parallel:
            product(up, thread, threads, rows, second, x_bytes, rounded2, rounded_bytes, hidden, hidden_bytes)
        else:
            for row in range(first_row, last_row):
                read_norm(block, layer + 8 * l.NORM2, up, row, normed, rounded)
            wait_for_all(sync, threads)
            product(up, thread, threads, rows, normed, x_bytes, rounded, rounded_bytes, hidden, hidden_bytes)
        wait_for_all(sync, threads)
        groups = mlp // GROUP
        first, last = GROUP * (groups * thread // threads), GROUP * (groups * (thread + 1) // threads)
        for row in range(rows):
            at = hidden + row * hidden_bytes
            if gated:
                gate(get(block, l.ACTIVATION), at, at + FLOATS * mlp, first, last)
            else:
                gate(get(block, l.ACTIVATION), 0, at, first, last)
        round_share(block, down, thread, threads, rows, hidden, hidden_bytes)
        wait_for_all(sync, threads)
        product(down, thread, threads, rows, hidden, hidden_bytes, rounded, rounded_bytes, added, x_bytes)
        wait_for_all(sync, threads)
        if separate:  # a thread's rows are its own: nothing to wait for before the next norm
            for row in range(first_row, last_row):
                add_branch(block, layer + 8 * l.NORM2_OUT, row)
    norm, features, width = block + 8 * l.FINAL_NORM, get(block, l.FEATURES), get(block, l.WIDTH)
    eps, rms = load_f32(get(block, l.EPS)), get(block, l.RMS)
    for row in range(first_row, last_row):
        to = features + FLOATS * width * row
        normalise(x + row * x_bytes, to, width, get(norm, 0), get(norm, 1), eps, rms)


@compiled
def single_product(block, thread):
    """Multiply rows by one linear layer."""
    sync, threads, rows = get(block, l.SYNC), get(block, l.THREADS), get(block, l.HEAD_ROWS)
    layer = block + 8 * l.HEAD_LINEAR
    x, x_bytes = get(block, l.HEAD_X), get(block, l.HEAD_X_BYTES)
    rounded, rounded_bytes = get(block, l.HEAD_ROUNDED), get(block, l.HEAD_ROUNDED_BYTES)
    if rounds(layer):
        k = get(layer, l.INPUTS)
        for row in range(rows * thread // threads, rows * (thread + 1) // threads):
            round_groups(x + row * x_bytes, rounded + row * rounded_bytes, k, 0, k // GROUP)
        wait_for_all(sync, threads)
    out, out_bytes = get(block, l.HEAD_OUT), get(block, l.HEAD_OUT_BYTES)
    product(layer, thread, threads, rows, x, x_bytes, rounded, rounded_bytes, out, out_bytes)
