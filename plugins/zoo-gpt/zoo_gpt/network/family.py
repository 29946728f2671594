"""The description of one published family, and the reader of its config.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any

from zoo_core import WeightsError
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.mlp import ACTIVATIONS
from zoo_gpt.network.rope import Rope
from zoo_gpt.network.rope_settings import read_rope

if TYPE_CHECKING:
    from torch import Tensor

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

# fmt: off
WITHOUT_EFFECT = frozenset({
    "architectures", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "auto_map",
    "bos_token_id", "cache_implementation", "chunk_size_feed_forward", "classifier_dropout", "dtype",
    "embd_pdrop", "embed_dropout",
    "embedding_dropout", "eos_token_id", "finetuning_task", "gradient_checkpointing", "hidden_dropout",
    "id2label", "initializer_range", "is_decoder", "is_llama_config", "label2id", "mlp_dropout", "n_ctx",
    "output_hidden_states", "output_past", "output_router_logits", "pad_token_id", "prefix", "pretraining_tp",
    "problem_type", "reorder_and_upcast_attn", "resid_dropout", "resid_pdrop", "residual_dropout",
    "return_dict", "router_aux_loss_coef", "router_jitter_noise", "summary_activation",
    "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    "task_specific_params", "tokenizer_class", "torch_dtype", "transformers.js_config",
    "transformers_version", "unk_token_id", "use_cache", "zoo",
})
# fmt: on
"""Settings that do not change what the network computes."""
QUANTIZED = ("quantization_config", "compression_config")
CLASSIFIERS = ("Classification", "QuestionAnswering")
"""Parts of the names of architectures that end in another head than the next token's."""


@dataclass(frozen=True)
class Family:
    """How to read the configs of one ``model_type``, and how its tensors are named."""

    read: Callable[[ConfigReader], TransformerConfig]
    names: Mapping[str, str]
    """Our module name for each published one, without ``prefix`` and with * for the layer number."""
    prefix: str
    """Prefix of published names; some files leave it out."""
    other_prefixes: tuple[str, ...] = ()
    """Prefixes that some files have instead."""
    unused: tuple[str, ...] = ()
    """Prefixes of the tensors of other networks in the same files."""
    transposed: bool = False
    """Linear weights are stored as (in, out)."""
    separate: Callable[[dict[str, Tensor]], None] | None = None
    """Replaces published tensors that hold several of ours."""
    quantised: tuple[str, ...] = ()
    """The methods of quantisation that are read."""


class ConfigReader:
    """Read a config.json setting by setting.

    A family reads every setting that its class in transformers declares, and refuses values it does not
    implement; a test compares the two. So a setting that was not read cannot change what is computed:
    :meth:`unread` lists such settings. ``zoo_core.read_config`` has one name and one type per field. Here
    they depend on the family.

    Args:
        config: The content of the file.
        source: The file, for messages.
        quantised: The methods of quantisation that are read.

    Raises:
        WeightsError: The weights are quantised in another way, or the network is not a causal language model.
    """

    def __init__(self, config: Mapping[str, Any], source: str, quantised: Sequence[str] = ()) -> None:
        self.config, self.source = config, source
        self.tables: list[ConfigReader] = []
        self.read = {"model_type", *WITHOUT_EFFECT, *QUANTIZED}
        for name in QUANTIZED:
            self._refuse_quantized(config.get(name), quantised)
        self.require(True, "is_causal")
        self.require(False, "is_encoder_decoder", "add_cross_attention")
        for architecture in self.get(list, "architectures", optional=True) or ():
            if any(kind in str(architecture) for kind in CLASSIFIERS):
                raise self.error(f"architectures is {short_repr(architecture)}, which predicts no next token")

    def get(self, kind: type[Any], *names: str, default: Any = None, optional: bool = False) -> Any:
        """Return a setting under the first of its names that is there and not null.

        Raises:
            WeightsError: The setting is missing and has no default, or its type differs.
        """
        self.read.update(names)
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
            self.read.add(name)
            if self.config.get(name, value) not in (value, None):
                raise self.error(f"{name} is {short_repr(self.config[name])}; only {value!r} is supported")

    def layer_types(self, layers: int) -> list[str] | None:
        """Return each layer's attention, ``full_attention`` or ``sliding_attention``; None: not given."""
        kinds: list[Any] | None = self.get(list, "layer_types", optional=True)
        if kinds is None:
            return None
        if len(kinds) != layers or not set(map(str, kinds)) <= {"full_attention", "sliding_attention"}:
            raise self.error(
                f"layer_types is {short_repr(kinds)}; expected 'full_attention' or 'sliding_attention' "
                f"for each of {layers} layers"
            )
        return kinds

    def require_full_attention(self, layers: int) -> None:
        """Refuse layers with an attention window."""
        kinds = self.layer_types(layers)
        if kinds and "sliding_attention" in kinds:
            raise self.error(f"layer_types is {short_repr(kinds)}; only 'full_attention' is supported")

    def windows(self, kinds: Sequence[str], window: int | None) -> tuple[int | None, ...]:
        """Return the attention window of each layer, given its kind and that of ``sliding_attention``."""
        if window is None and "sliding_attention" in kinds:
            raise self.error("layer_types has 'sliding_attention', but no sliding_window is in use")
        return tuple(window if kind == "sliding_attention" else None for kind in kinds)

    def window(self, default: int | None) -> int | None:
        """Return ``sliding_window``: the positions that a query sees; None: all, which null means too."""
        return None if self.is_null("sliding_window", default) else self.size("sliding_window", default)

    def softcap(self, name: str, default: float | None) -> float | None:
        """Return the limit of a soft cap; None: there is none, which null means too."""
        return None if self.is_null(name, default) else self.positive(name, default)

    def positive(self, name: str, default: float | None = None) -> float:
        """Return a number above 0."""
        value: float = self.get(float, name, default=default)
        if value <= 0:
            raise self.error(f"{name} is {value:g}; expected a number above 0")
        return value

    def is_null(self, name: str, default: Any) -> bool:
        """Return True if a setting is null, or missing and null by default."""
        self.read.add(name)
        return self.config.get(name, default) is None

    def nested(self, name: str) -> ConfigReader:
        """Return a reader of the settings in a table."""
        reader = ConfigReader(self.object(name), f"{self.source}: {name}")
        self.tables.append(reader)
        return reader

    def activation(self, name: str, default: str) -> str:
        """Return the name of a supported activation."""
        value: str = self.get(str, name, default=default)
        if value not in ACTIVATIONS:
            raise self.error(f"{name} is {short_repr(value)}; expected one of {', '.join(ACTIVATIONS)}")
        return value

    def sizes(
        self, width: str, layers: str, heads: str, context: str, defaults: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Read the sizes that every config has, under these names; return fields of TransformerConfig."""
        defaults = defaults or {}
        sizes = {"width": width, "heads": heads, "context": context, "vocab_size": "vocab_size"}
        read = {field: self.size(name, defaults.get(name)) for field, name in sizes.items()}
        read["layers"] = self.size(layers, defaults.get(layers), most=MAX_LAYERS)
        return read | {"vocab_out": read["vocab_size"], "kv_heads": read["heads"]}

    def head_dim(self, sizes: Mapping[str, int]) -> int:
        """Return the width of one head, the network's width divided by the heads."""
        head_dim, rest = divmod(sizes["width"], sizes["heads"])
        if rest:
            raise self.error(f"a width of {sizes['width']} cannot be divided into {sizes['heads']} heads")
        return head_dim

    def rope(
        self,
        head_dim: int,
        context: int,
        *,
        theta: float = 10000.0,
        share: float = 1.0,
        scaling: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Rope:
        """Read rotary settings, flat as in published files or nested as in recent transformers.

        ``scaling`` are the settings of a file that has none; the other arguments are those of
        :func:`read_rope`.
        """
        return read_rope(
            self,
            head_dim,
            context,
            self.object("rope_scaling") or self.object("rope_parameters") or scaling or {},
            theta=self.get(float, "rope_theta", "rotary_emb_base", default=theta),
            share=self.get(float, "partial_rotary_factor", "rotary_pct", default=share),
            **options,
        )

    def object(self, name: str) -> Mapping[str, Any]:
        """Return a table of settings, which is empty if it is missing."""
        value: Mapping[str, Any] = self.get(dict, name, default={}, optional=True)
        return value

    def unread(self) -> list[str]:
        """Return the names of settings that have no effect, except those that are off."""
        own = [
            name
            for name, value in self.config.items()
            if name not in self.read
            and not name.startswith("_")
            and value not in (None, False, 0, "", [], {})
        ]
        return [*own, *(name for table in self.tables for name in table.unread())]

    def error(self, problem: str) -> WeightsError:
        """Return an error about this file."""
        return WeightsError(f"{self.source}: {problem}.", REMEDY)

    def _refuse_quantized(self, settings: Any, quantised: Sequence[str]) -> None:
        method = settings.get("quant_method") if isinstance(settings, dict) else None
        if not settings or method in quantised:
            return
        raise WeightsError(
            f"{self.source}: the weights are quantised ({short_repr(method or settings)}); zoo-gpt does not "
            "read them.",
            "Use the repository with the original weights; --dtype int8 quantises them here.",
        )
