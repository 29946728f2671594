"""Qwen2 and Qwen2.5 (arXiv:2412.15115): Llama with biases of queries, keys and values."""

from __future__ import annotations

from functools import partial

from zoo_gpt.network.families import llama
from zoo_gpt.network.family import Family

FAMILY = Family(partial(llama.read, qkv_bias=True), llama.NAMES, "model.")
