"""Qwen3 (arXiv:2505.09388): Llama with norms of queries and keys."""

from __future__ import annotations

from functools import partial

from zoo_gpt.network.families import llama
from zoo_gpt.network.family import Family

FAMILY = Family(partial(llama.read, qk_norm=True), llama.NAMES, "model.")
