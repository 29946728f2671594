"""The published families: what their configs say, and what their tensors are called.

Each family reads its config.json into a :class:`~zoo_gpt.transformer.TransformerConfig` and has a table from
its modules' names to ours. A setting that asks for something else is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_core import WeightsError
from zoo_gpt.classes import Classes
from zoo_gpt.rope import Llama3Scaling, Rope
from zoo_gpt.transformer import ACTIVATIONS, TransformerConfig

Json = Mapping[str, Any]


class Settings:
    """A config.json that is read key by key, so that what was not read can be refused.

    Args:
        config: The content.
        source: The file, for messages.
    """

    def __init__(self, config: Json, source: str) -> None:
        self._config = config
        self.source = source
        self._read = {"model_type", *WITHOUT_EFFECT}

    def __call__(self, kind: type[Any], *names: str, default: Any = None, optional: bool = False) -> Any:
        """Return the setting of the first of these names that is there and not null.

        Raises:
            WeightsError: There is none (and no default), or it is of another type.
        """
        self._read.update(names)
        name = next((name for name in names if self._config.get(name) is not None), None)
        if name is None:
            if default is None and not optional:
                raise self.error(f"lacks {names[0]}")
            return default
        value = self._config[name]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self.error(f"says {name} = {value!r}, which is no {kind.__name__}")
        return value

    def size(self, *names: str, default: int | None = None) -> int:
        """Return a whole number of at least 1."""
        value = self(int, *names, default=default)
        if value < 1:
            raise self.error(f"says {names[0]} = {value}, which is less than 1")
        return int(value)

    def only(self, value: Any, *names: str) -> None:
        """Refuse any other value of these settings than ``value``."""
        for name in names:
            self._read.add(name)
            if self._config.get(name, value) not in (value, None):
                raise self.error(f"says {name} = {self._config[name]!r}; only {value!r} is supported")

    def activation(self, *names: str, default: str) -> str:
        """Return the name of an activation."""
        value: str = self(str, *names, default=default)
        if value not in ACTIVATIONS:
            raise self.error(f"says {names[0]} = {value!r}; known are {', '.join(ACTIVATIONS)}")
        return value

    def head_dim(self, width: int, heads: int) -> int:
        """Return the width of a head where it is what divides the whole."""
        if width % heads:
            raise self.error(f"says that {heads} heads share a width of {width}, which they do not divide")
        return width // heads

    def nested(self, name: str) -> Json:
        """Return the settings within one; none if it is not there."""
        value: Json = self(dict, name, default={}, optional=True)
        return value

    def zoo(self) -> Json:
        """What this project records beside the published settings: the names of classes."""
        return self.nested("zoo")

    def layers_are_full(self) -> None:
        """Refuse layers that do not see everything before them."""
        kinds = self(list, "layer_types", default=[], optional=True)
        if any(kind != "full_attention" for kind in kinds):
            raise self.error(f"says layer_types = {kinds!r}; only 'full_attention' is supported")

    def done(self) -> None:
        """Refuse settings that nobody read, unless they are off."""
        for name, value in self._config.items():
            if (
                name not in self._read
                and not name.startswith("_")
                and value not in (None, False, 0, "", [], {})
            ):
                raise self.error(f"has the setting {name} = {value!r}, which is not known")

    def error(self, what: str) -> WeightsError:
        """What is wrong with the config."""
        return WeightsError(f"{self.source} {what}.", "Use a checkpoint of a model that zoo-gpt supports.")


# fmt: off
WITHOUT_EFFECT = frozenset({
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
    """One ``model_type``."""

    read: Callable[[Settings], TransformerConfig]
    names: Mapping[str, str]
    """Their modules' names, less ``prefix`` and with * for a layer, to ours."""
    prefix: str = ""
    """May or may not be there in a file."""
    transposed: bool = False
    """Linear weights are (in, out)."""


def transformer_config(config: Json, source: str) -> TransformerConfig:
    """Read a config.json.

    Args:
        config: Its content.
        source: The file, for messages.

    Raises:
        WeightsError: an unknown model_type, a missing setting, one of the wrong type, or one that is not
            supported.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise WeightsError(
            f"{source} says model_type = {model_type!r}, which zoo-gpt does not know.",
            f"Known are {', '.join(FAMILIES)}.",
        )
    settings = Settings(config, source)
    read = FAMILIES[model_type].read(settings)
    settings.done()
    if read.heads % read.kv_heads:
        raise settings.error(f"says that {read.kv_heads} heads of keys serve {read.heads} of queries")
    return read


def _gpt2(settings: Settings) -> TransformerConfig:
    settings.only(True, "scale_attn_weights")
    settings.only(False, "scale_attn_by_inverse_layer_idx", "add_cross_attention")
    return TransformerConfig(
        **_gpt2_sizes(settings), tied=settings(bool, "tie_word_embeddings", default=True)
    )


def _imagegpt(settings: Settings) -> TransformerConfig:
    settings.only(True, "scale_attn_weights")
    settings.only(False, "scale_attn_by_inverse_layer_idx", "add_cross_attention", "tie_word_embeddings")
    sizes = _gpt2_sizes(settings, "quick_gelu")
    # What starts a sequence is not predicted: one token, or one for each class.
    classes = Classes.of(settings.zoo(), settings.source)
    sizes["vocab_out"] = sizes["vocab_size"] - (classes.starts if classes else 1)
    return TransformerConfig(**sizes, rms_norm=True, tied=False)


def _gpt2_sizes(settings: Settings, activation: str = "gelu_new") -> dict[str, Any]:
    width, heads = settings.size("n_embd"), settings.size("n_head")
    vocab_size = settings.size("vocab_size")
    return {
        "vocab_size": vocab_size,
        "vocab_out": vocab_size,
        "width": width,
        "layers": settings.size("n_layer"),
        "heads": heads,
        "kv_heads": heads,
        "head_dim": settings.head_dim(width, heads),
        "context": settings.size("n_positions"),
        "mlp_width": settings.size("n_inner", default=4 * width),
        "activation": settings.activation("activation_function", default=activation),
        "norm_eps": settings(float, "layer_norm_epsilon", default=1e-5),
    }


def _gpt_neo(settings: Settings) -> TransformerConfig:
    width, heads, layers = (
        settings.size("hidden_size"),
        settings.size("num_heads"),
        settings.size("num_layers"),
    )
    vocab_size, window = settings.size("vocab_size"), settings.size("window_size", default=256)
    types = settings(list, "attention_types", default=[[["global", "local"], layers // 2]])
    settings(list, "attention_layers", optional=True)  # the same, spelt out
    try:
        kinds = [kind for pattern, times in types for kind in pattern * times]
        windows = tuple({"global": None, "local": window}[kind] for kind in kinds)
    except (TypeError, ValueError, KeyError):
        raise settings.error(f"says attention_types = {types!r}, which is not understood") from None
    if len(windows) != layers:
        raise settings.error(f"has {layers} layers and attention_types for {len(windows)}")
    return TransformerConfig(
        vocab_size=vocab_size,
        vocab_out=vocab_size,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=settings.head_dim(width, heads),
        context=settings.size("max_position_embeddings"),
        mlp_width=settings.size("intermediate_size", default=4 * width),
        activation=settings.activation("activation_function", default="gelu_new"),
        norm_eps=settings(float, "layer_norm_epsilon", default=1e-5),
        attention_scale=1.0,
        windows=windows,
        qkv_bias=False,
        tied=settings(bool, "tie_word_embeddings", default=True),
    )


def _gpt_neox(settings: Settings) -> TransformerConfig:
    width, heads = settings.size("hidden_size"), settings.size("num_attention_heads")
    vocab_size, head_dim = settings.size("vocab_size"), settings.head_dim(width, heads)
    bias = settings(bool, "attention_bias", default=True)
    return TransformerConfig(
        vocab_size=vocab_size,
        vocab_out=vocab_size,
        width=width,
        layers=settings.size("num_hidden_layers"),
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        context=settings.size("max_position_embeddings"),
        mlp_width=settings.size("intermediate_size"),
        activation=settings.activation("hidden_act", default="gelu"),
        norm_eps=settings(float, "layer_norm_eps", default=1e-5),
        rope=_rope(settings, head_dim, default_share=0.25),
        qkv_bias=bias,
        out_bias=bias,
        parallel=settings(bool, "use_parallel_residual", default=True),
        tied=settings(bool, "tie_word_embeddings", default=False),
    )


def _llama(settings: Settings) -> TransformerConfig:
    bias = settings(bool, "attention_bias", default=False)
    return _llama_like(settings, qkv_bias=bias, out_bias=bias)


def _qwen2(settings: Settings) -> TransformerConfig:
    return _llama_like(settings, qkv_bias=True)


def _qwen3(settings: Settings) -> TransformerConfig:
    bias = settings(bool, "attention_bias", default=False)
    return _llama_like(settings, qkv_bias=bias, out_bias=bias, qk_norm=True)


def _llama_like(
    settings: Settings, *, qkv_bias: bool, out_bias: bool = False, qk_norm: bool = False
) -> TransformerConfig:
    # Where it is off, sliding_window may say what it likes.
    settings.only(False, "use_sliding_window")
    settings.layers_are_full()
    width, heads = settings.size("hidden_size"), settings.size("num_attention_heads")
    head_dim = settings(int, "head_dim", optional=True) or settings.head_dim(width, heads)
    vocab_size = settings.size("vocab_size")
    return TransformerConfig(
        vocab_size=vocab_size,
        vocab_out=vocab_size,
        width=width,
        layers=settings.size("num_hidden_layers"),
        heads=heads,
        kv_heads=settings.size("num_key_value_heads", default=heads),
        head_dim=head_dim,
        context=settings.size("max_position_embeddings"),
        mlp_width=settings.size("intermediate_size"),
        activation=settings.activation("hidden_act", default="silu"),
        gated=True,
        rms_norm=True,
        norm_eps=settings(float, "rms_norm_eps", default=1e-6),
        rope=_rope(settings, head_dim, default_share=1.0),
        qk_norm=qk_norm,
        qkv_bias=qkv_bias,
        out_bias=out_bias,
        mlp_bias=settings(bool, "mlp_bias", default=False),
        tied=settings(bool, "tie_word_embeddings", default=False),
    )


def _rope(settings: Settings, head_dim: int, default_share: float) -> Rope:
    """Read rotary settings in the form of published files, or in the nested one of today's transformers."""
    nested = settings.nested("rope_parameters")
    scaling = settings.nested("rope_scaling") or nested
    theta = settings(float, "rope_theta", "rotary_emb_base", optional=True) or nested.get(
        "rope_theta", 10000.0
    )
    share = settings(float, "partial_rotary_factor", "rotary_pct", optional=True)
    share = share or nested.get("partial_rotary_factor", default_share)
    dims = int(head_dim * share)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    try:
        if kind == "default":
            return Rope(dims, float(theta))
        if kind == "linear":
            return Rope(dims, float(theta), slowdown=float(scaling["factor"]))
        if kind == "llama3":
            llama3 = Llama3Scaling(
                float(scaling["factor"]),
                float(scaling["low_freq_factor"]),
                float(scaling["high_freq_factor"]),
                int(scaling["original_max_position_embeddings"]),
            )
            return Rope(dims, float(theta), llama3=llama3)
    except (KeyError, TypeError, ValueError):
        raise settings.error(f"has rotary settings that are incomplete: {dict(scaling)}") from None
    raise settings.error(f"says rope_type = {kind!r}; known are default, linear and llama3")


_GPT2 = {
    "wte": "embedding",
    "wpe": "positions",
    "h.*.ln_1": "blocks.*.norm1",
    "h.*.attn.c_attn": "blocks.*.attention.qkv",
    "h.*.attn.c_proj": "blocks.*.attention.out",
    "h.*.ln_2": "blocks.*.norm2",
    "h.*.mlp.c_fc": "blocks.*.mlp.up",
    "h.*.mlp.c_proj": "blocks.*.mlp.down",
    "ln_f": "norm",
    "lm_head": "head",
}
_GPT_NEO = _GPT2 | {
    "h.*.attn.attention.q_proj": "blocks.*.attention.q",
    "h.*.attn.attention.k_proj": "blocks.*.attention.k",
    "h.*.attn.attention.v_proj": "blocks.*.attention.v",
    "h.*.attn.attention.out_proj": "blocks.*.attention.out",
}
_GPT_NEOX = {
    "embed_in": "embedding",
    "layers.*.input_layernorm": "blocks.*.norm1",
    "layers.*.attention.query_key_value": "blocks.*.attention.qkv_by_head",
    "layers.*.attention.dense": "blocks.*.attention.out",
    "layers.*.post_attention_layernorm": "blocks.*.norm2",
    "layers.*.mlp.dense_h_to_4h": "blocks.*.mlp.up",
    "layers.*.mlp.dense_4h_to_h": "blocks.*.mlp.down",
    "final_layer_norm": "norm",
    "embed_out": "head",
    "lm_head": "head",
}
_LLAMA = {
    "embed_tokens": "embedding",
    "layers.*.input_layernorm": "blocks.*.norm1",
    "layers.*.self_attn.q_proj": "blocks.*.attention.q",
    "layers.*.self_attn.k_proj": "blocks.*.attention.k",
    "layers.*.self_attn.v_proj": "blocks.*.attention.v",
    "layers.*.self_attn.o_proj": "blocks.*.attention.out",
    "layers.*.self_attn.q_norm": "blocks.*.attention.q_norm",
    "layers.*.self_attn.k_norm": "blocks.*.attention.k_norm",
    "layers.*.post_attention_layernorm": "blocks.*.norm2",
    "layers.*.mlp.gate_proj": "blocks.*.mlp.gate",
    "layers.*.mlp.up_proj": "blocks.*.mlp.up",
    "layers.*.mlp.down_proj": "blocks.*.mlp.down",
    "norm": "norm",
    "lm_head": "head",
}

FAMILIES: Mapping[str, Family] = {
    "gpt2": Family(_gpt2, _GPT2, "transformer.", transposed=True),
    "gpt_neo": Family(_gpt_neo, _GPT_NEO, "transformer."),
    "gpt_neox": Family(_gpt_neox, _GPT_NEOX, "gpt_neox."),
    "llama": Family(_llama, _LLAMA, "model."),
    "qwen2": Family(_qwen2, _LLAMA, "model."),
    "qwen3": Family(_qwen3, _LLAMA, "model."),
    "imagegpt": Family(_imagegpt, _GPT2, "transformer.", transposed=True),
}
"""By ``model_type``."""

NOT_WEIGHTS = re.compile(r"\.(attn|attention)\.(attention\.)?(bias|masked_bias)$|rotary_emb\.inv_freq$")
"""Masks and tables that old files hold beside the weights."""


def rename(config: Json, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a file's tensors under our names and in our shapes; ``tensors`` is emptied.

    One by one, so that what had to be copied is never there twice. Names that the family does not have stay.

    Args:
        config: The checkpoint's config.json, checked by :func:`transformer_config`.
        tensors: By their published names.
    """
    shape = transformer_config(config, "config.json")
    family = FAMILIES[config["model_type"]]
    renamed: dict[str, Tensor] = {}
    for name in list(tensors):
        tensor = tensors.pop(name)
        if NOT_WEIGHTS.search(name):
            continue
        module, _, kind = name.removeprefix(family.prefix).rpartition(".")
        layer = re.search(r"\.(\d+)\.", module)
        ours = family.names.get(re.sub(r"\.\d+\.", ".*.", module, count=1))
        if ours is None:
            renamed[name] = tensor
            continue
        if ours == "head" and shape.tied:
            continue
        ours = ours.replace("*", layer[1]) if layer else ours
        if family.transposed and tensor.dim() == 2 and layer:
            tensor = tensor.T.contiguous()
        if ours.endswith("qkv_by_head"):
            ours = ours.removesuffix("_by_head")
            by_head = tensor.view(shape.heads, 3, shape.head_dim, *tensor.shape[1:])
            tensor = by_head.transpose(0, 1).reshape(tensor.shape)
        renamed[f"{ours}.{kind}"] = tensor
    return _fused(shape, renamed)


def _fused(config: TransformerConfig, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put the weights of queries, keys and values into one, which reads its input once."""
    for layer in range(config.layers):
        for kind in ("weight", "bias"):
            names = [f"blocks.{layer}.attention.{part}.{kind}" for part in "qkv"]
            if all(name in tensors for name in names):
                parts = [tensors.pop(name) for name in names]
                tensors[f"blocks.{layer}.attention.qkv.{kind}"] = torch.cat(parts)
    return tensors
