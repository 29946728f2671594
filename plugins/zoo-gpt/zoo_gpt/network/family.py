"""The description of one published family, and the reader of its config.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import Any

from zoo_core import WeightsError
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.rope import Llama3Scaling, Rope
from zoo_gpt.network.transformer import ACTIVATIONS

KINDS: Mapping[type, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "a list",
    str: "a string",
}

REMEDY = "Use a checkpoint of a model that zoo-gpt supports."
MAX_LAYERS = 1000
MAX_SIZE = 2**24
"""Largest width, context or vocabulary."""
LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")

# fmt: off
IGNORED = frozenset({
    "architectures", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "auto_map",
    "bos_token_id", "classifier_dropout", "dtype", "embd_pdrop", "embed_dropout", "eos_token_id",
    "finetuning_task", "gradient_checkpointing", "hidden_dropout", "id2label", "initializer_range",
    "is_llama_config", "label2id", "max_window_layers", "mlp_dropout", "n_ctx", "output_past",
    "pad_token_id", "prefix", "pretraining_tp", "problem_type", "reorder_and_upcast_attn",
    "resid_dropout", "resid_pdrop", "sliding_window", "summary_activation", "summary_first_dropout",
    "summary_proj_to_labels", "summary_type", "summary_use_proj", "task_specific_params",
    "tokenizer_class", "torch_dtype", "transformers.js_config", "transformers_version", "unk_token_id",
    "use_cache", "zoo",
})
# fmt: on
"""Settings that do not change what the network computes."""


@dataclass(frozen=True)
class Family:
    """How to read the configs of one ``model_type``, and how its tensors are named."""

    read: Callable[[ConfigReader], TransformerConfig]
    names: Mapping[str, str]
    """Our module name for each published one, without ``prefix`` and with * for the layer number."""
    prefix: str
    """Prefix of published names; some files leave it out."""
    transposed: bool = False
    """Linear weights are stored as (in, out)."""


class ConfigReader:
    """Read a config.json setting by setting; :meth:`finish` refuses by name those that were not read.

    ``zoo_core.read_config`` has one name and one type per field. Here they depend on the family, and settings
    that are off may have any name.

    Args:
        config: The content of the file.
        source: The file, for messages.
    """

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self.config, self.source = config, source
        self._read = {"model_type", *IGNORED}

    def get(self, kind: type[Any], *names: str, default: Any = None, optional: bool = False) -> Any:
        """Return a setting under the first of its names that is there and not null.

        Raises:
            WeightsError: The setting is missing and has no default, or its type differs.
        """
        self._read.update(names)
        name = next((name for name in names if self.config.get(name) is not None), None)
        if name is None:
            if default is None and not optional:
                raise self.error(f"the setting {names[0]!r} is missing")
            return default
        value = self.config[name]
        if kind is float and type(value) is int and abs(value) < 2**63:
            value = float(value)
        if type(value) is not kind or (kind is float and not math.isfinite(value)):
            raise self.error(f"{name} is {short_repr(value)}; expected {KINDS[kind]}")
        return value

    def size(self, name: str, default: int | None = None, most: int = MAX_SIZE) -> int:
        """Return an integer from 1 to ``most``."""
        value: int = self.get(int, name, default=default)
        if not 1 <= value <= most:
            raise self.error(f"{name} is {short_repr(value)}; expected 1 to {most:,}")
        return value

    def epsilon(self, name: str, default: float) -> float:
        """Return the number that a norm adds to a variance."""
        value: float = self.get(float, name, default=default)
        if not 0 <= value < 1:
            raise self.error(f"{name} is {value:g}; expected 0 or more, and less than 1")
        return value

    def require(self, value: Any, *names: str) -> None:
        """Refuse these settings if they have another value than ``value``."""
        for name in names:
            self._read.add(name)
            if self.config.get(name, value) not in (value, None):
                raise self.error(f"{name} is {short_repr(self.config[name])}; only {value!r} is supported")

    def require_full_attention(self) -> None:
        """Refuse layers with an attention window."""
        kinds = self.get(list, "layer_types", default=[], optional=True)
        if any(kind != "full_attention" for kind in kinds):
            raise self.error(f"layer_types is {short_repr(kinds)}; only 'full_attention' is supported")

    def activation(self, name: str, default: str) -> str:
        """Return the name of a supported activation."""
        value: str = self.get(str, name, default=default)
        if value not in ACTIVATIONS:
            raise self.error(f"{name} is {short_repr(value)}; expected one of {', '.join(ACTIVATIONS)}")
        return value

    def sizes(self, width: str, layers: str, heads: str, context: str) -> dict[str, Any]:
        """Read the sizes that every config has, under these names; return fields of TransformerConfig."""
        sizes = {"width": width, "heads": heads, "context": context}
        read = {field: self.size(name) for field, name in sizes.items()}
        read["layers"] = self.size(layers, most=MAX_LAYERS)
        vocab_size = self.size("vocab_size")
        return read | {"vocab_size": vocab_size, "vocab_out": vocab_size, "kv_heads": read["heads"]}

    def head_dim(self, sizes: Mapping[str, int]) -> int:
        """Return the width of one head, the network's width divided by the heads."""
        head_dim, rest = divmod(sizes["width"], sizes["heads"])
        if rest:
            raise self.error(f"a width of {sizes['width']} cannot be divided into {sizes['heads']} heads")
        return head_dim

    def rope(self, head_dim: int, default_share: float = 1.0) -> Rope:
        """Read rotary settings, flat as in published files or nested as in recent transformers."""
        nested = self._object("rope_parameters")
        scaling = self._object("rope_scaling") or nested
        theta = self.get(float, "rope_theta", "rotary_emb_base", optional=True)
        share = self.get(float, "partial_rotary_factor", "rotary_pct", optional=True)
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind not in ("default", "linear", "llama3"):
            raise self.error(f"rope_type is {short_repr(kind)}; expected one of default, linear, llama3")
        try:
            theta = float(theta or nested.get("rope_theta", 10000.0))
            share = float(share or nested.get("partial_rotary_factor", default_share))
            names = {"default": (), "linear": ("factor",), "llama3": LLAMA3}[kind]
            numbers = [float(scaling[name]) for name in names]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self.error(f"the rotary settings are incomplete: {short_repr(dict(scaling))}") from None
        positive = all(0 < number < math.inf for number in (theta, *numbers))
        if not positive or not 0 < share <= 1 or int(head_dim * share) % 2:
            raise self.error(
                f"the rotary settings are impossible: rope_theta {theta:g}, a share of {share:g} of "
                f"{head_dim} channels, {short_repr(dict(scaling))}"
            )
        factor = numbers[0] if kind == "linear" else 1.0
        llama3 = Llama3Scaling(*numbers) if kind == "llama3" else None
        return Rope(int(head_dim * share), theta, factor, llama3)

    def finish(self) -> None:
        """Refuse settings that were not read, unless they are off."""
        for name, value in self.config.items():
            off = value in (None, False, 0, "", [], {})
            if name not in self._read and not name.startswith("_") and not off:
                raise self.error(f"unknown setting {short_repr(name)} = {short_repr(value)}")

    def error(self, problem: str) -> WeightsError:
        """Return an error about this file."""
        return WeightsError(f"{self.source}: {problem}.", REMEDY)

    def _object(self, name: str) -> Mapping[str, Any]:
        value: Mapping[str, Any] = self.get(dict, name, default={}, optional=True)
        return value
