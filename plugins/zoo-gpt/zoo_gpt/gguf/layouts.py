"""The layouts of llama.cpp in terms of transformers: config.json, and the names of tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo_core import WeightsError
from zoo_gpt.gguf.experts import in_mxfp4
from zoo_gpt.gguf.file import GGUFFile

REMEDY = "Use a file of a model that zoo-gpt supports."
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Modules of a Llama: names in GGUF to names in transformers."""
QK_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
GEMMA2 = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
SINKS = "attn_sinks"
"""In transformers a parameter, not a module with a weight."""
GPT_OSS = {name: ours for name, ours in NAMES.items() if not name.startswith("ffn")} | {
    "post_attention_norm": "post_attention_layernorm",
    SINKS: "self_attn.sinks",
    "ffn_gate_inp": "mlp.router",
    "ffn_gate_exps": "mlp.experts.gate_proj",
    "ffn_up_exps": "mlp.experts.up_proj",
    "ffn_down_exps": "mlp.experts.down_proj",
}
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""The settings of Llama 3's rope besides its factor, of which GGUF has only the result."""


class SettingsReader:
    """The settings of one file, read by name."""

    def __init__(self, file: GGUFFile) -> None:
        self.file, self.source = file, file.name
        self.architecture = file.settings.get("general.architecture")

    def get(self, name: str, *kinds: type, default: Any = None) -> Any:
        """Return a setting of the architecture; without a default, it must be there.

        Raises:
            WeightsError: It is missing, or of another type.
        """
        name = f"{self.architecture}.{name}"
        value = self.file.settings.get(name, default)
        if value is None:
            raise self.error(f"it has no {name}")
        if type(value) not in kinds and value is not default:
            raise self.error(f"{name} is {short_repr(value)}")
        return shortest(value) if type(value) is float else value

    def has(self, name: str) -> bool:
        """Return True if the architecture has this setting."""
        return f"{self.architecture}.{name}" in self.file.settings

    def table(self, name: str) -> list[float] | None:
        """Return the numbers of a tensor that is a setting; None if there is none."""
        blocks = self.file.tensors.get(f"{name}.weight")
        return None if blocks is None else [float(x) for x in blocks.numbers().ravel()]

    def error(self, what: str) -> WeightsError:
        """Return an error about this file."""
        return WeightsError(f"{self.source} cannot be run: {what}.", REMEDY)


@dataclass(frozen=True)
class Layout:
    """How an architecture of llama.cpp is stored."""

    names: Mapping[str, str]
    config: Callable[[SettingsReader], dict[str, Any]]
    """Returns the settings that a Llama has not."""
    activation: str = "hidden_act"
    function: str = "silu"
    pairs: bool = False
    """Rows of queries and keys that rotate together are side by side, and not half a head apart."""
    offset: bool = False
    """The file's norms are around 1 where those of transformers are around 0."""
    experts: bool = False
    """Its MLPs may be experts."""


def shortest(value: float) -> float:
    """Undo a conversion to float32: 9.999999747378752e-06 becomes 1e-05."""
    return float(str(np.float32(value)))


def config_of(file: GGUFFile) -> dict[str, Any]:
    """Return the config.json of a file.

    Raises:
        WeightsError: The architecture is not supported, or a setting is missing.
    """
    settings = SettingsReader(file)
    layout = layout_of(settings)
    if settings.get("expert_count", int, default=0) and not layout.experts:
        raise settings.error("it has experts, which are not read from GGUF")
    heads = settings.get("attention.head_count", int)
    width = settings.get("embedding_length", int)
    config = {
        "model_type": MODEL_TYPES.get(str(settings.architecture), settings.architecture),
        "vocab_size": file.tensors["token_embd.weight"].shape[0]
        if "token_embd.weight" in file.tensors
        else len(file.settings.get("tokenizer.ggml.tokens") or ()),
        "hidden_size": width,
        "intermediate_size": settings.get("feed_forward_length", int),
        "num_hidden_layers": settings.get("block_count", int),
        "num_attention_heads": heads,
        "num_key_value_heads": settings.get("attention.head_count_kv", int, default=heads),
        layout.activation: layout.function,
        "max_position_embeddings": settings.get("context_length", int),
        "rms_norm_eps": settings.get("attention.layer_norm_rms_epsilon", float),
        "rope_theta": settings.get("rope.freq_base", float, default=10000.0),
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }
    if heads and settings.has("attention.key_length"):
        config["head_dim"] = settings.get("attention.key_length", int)
    config |= _rope(settings, config) | layout.config(settings)
    return config | _token_ids(file)


def layout_of(settings: SettingsReader) -> Layout:
    """Return the layout of a file's architecture."""
    if settings.architecture not in LAYOUTS:
        raise settings.error(
            f"its architecture is {short_repr(settings.architecture)}; expected {', '.join(LAYOUTS)}"
        )
    return LAYOUTS[str(settings.architecture)]


def published_name(name: str, layout: Layout) -> str | None:
    """Translate a tensor's name: ``blk.3.attn_q.weight`` → ``model.layers.3.self_attn.q_proj.weight``.

    Returns None for a name that the architecture has not.
    """
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name)
    if match is None or match[2] not in layout.names:
        return None
    layer = f"model.layers.{match[1]}." if match[1] else ""
    if match[2] == SINKS:
        return f"{layer}{layout.names[SINKS]}"
    return f"{layer}{layout.names[match[2]]}.{match[3]}"


def rows_by_half(rows: int, heads: int) -> NDArray[np.intp]:
    """Return the order of a projection's rows in which those that rotate together are half a head apart."""
    return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).ravel()


def _rope(settings: SettingsReader, config: Mapping[str, Any]) -> dict[str, Any]:
    kind = settings.get("rope.scaling.type", str, default="none")
    original = settings.get("rope.scaling.original_context_length", int, default=0)
    if (divisors := settings.table("rope_freqs")) is not None:
        return {"rope_scaling": _llama3(settings, divisors, config["rope_theta"])}
    if (long := settings.table("rope_factors_long")) is not None:
        scaling = {"rope_type": "longrope", "long_factor": long}
        scaling["short_factor"] = settings.table("rope_factors_short") or []
        if settings.has("rope.scaling.attn_factor"):
            scaling["attention_factor"] = settings.get("rope.scaling.attn_factor", float)
        return {"rope_scaling": scaling, "original_max_position_embeddings": original}
    if kind in ("linear", "yarn"):
        scaling = {"rope_type": kind, "factor": settings.get("rope.scaling.factor", float)}
        if kind == "yarn":
            scaling["original_max_position_embeddings"] = original
        return {"rope_scaling": scaling}
    if kind != "none":
        raise settings.error(f"the scaling of its rope is {short_repr(kind)}")
    return {}


def _llama3(settings: SettingsReader, divisors: list[float], theta: float) -> dict[str, Any]:
    """Return the settings of Llama 3 that give these divisors.

    Raises:
        WeightsError: The divisors are those of another scaling.
    """
    import torch

    from zoo_gpt.network.rope_scaling import Llama3Scaling

    scaling = {"rope_type": "llama3", "factor": max(divisors), **LLAMA3}
    low, high, original = (float(value) for value in LLAMA3.values())
    plain = theta ** -(torch.arange(len(divisors)).float() / len(divisors))
    scaled = Llama3Scaling(
        factor=max(divisors), low_freq_factor=low, high_freq_factor=high, original_context=original
    ).scaled(plain, theta)
    if not torch.allclose(plain / scaled, torch.tensor(divisors), rtol=1e-3):
        raise settings.error("the scaling of its rope is not that of Llama 3")
    return scaling


def _llama(settings: SettingsReader) -> dict[str, Any]:
    tensors = settings.file.tensors
    return {"attention_bias": "blk.0.attn_q.bias" in tensors, "mlp_bias": "blk.0.ffn_up.bias" in tensors}


def _nothing(settings: SettingsReader) -> dict[str, Any]:
    return {}


def _phi3(settings: SettingsReader) -> dict[str, Any]:
    dims = settings.get("rope.dimension_count", int, default=0)
    head = settings.get("embedding_length", int) // settings.get("attention.head_count", int)
    window = settings.get("attention.sliding_window", int, default=0)
    share = {"partial_rotary_factor": dims / head} if dims and dims != head else {}
    return {"sliding_window": window or None, **share}


def _gemma2(settings: SettingsReader) -> dict[str, Any]:
    # llama.cpp knows the largest model by its layers; the file does not say how scores are scaled.
    head_dim = settings.get("attention.key_length", int)
    by_width = settings.get("embedding_length", int) // settings.get("attention.head_count", int)
    return {
        "query_pre_attn_scalar": by_width if settings.get("block_count", int) == 46 else head_dim,
        "sliding_window": settings.get("attention.sliding_window", int),
        "attn_logit_softcapping": settings.get("attn_logit_softcapping", float, default=50.0),
        "final_logit_softcapping": settings.get("final_logit_softcapping", float, default=30.0),
    }


def _gemma3(settings: SettingsReader) -> dict[str, Any]:
    head_dim = settings.get("attention.key_length", int)
    by_width = settings.get("embedding_length", int) // settings.get("attention.head_count", int)
    return {
        "query_pre_attn_scalar": by_width if settings.get("block_count", int) == 62 else head_dim,
        "sliding_window": settings.get("attention.sliding_window", int),
        "rope_theta": settings.get("rope.freq_base", float, default=1000000.0),
        "rope_local_base_freq": settings.get("rope.freq_base_swa", float, default=10000.0),
    }


def _gpt_oss(settings: SettingsReader) -> dict[str, Any]:
    config: dict[str, Any] = {
        "attention_bias": "blk.0.attn_q.bias" in settings.file.tensors,
        "intermediate_size": settings.get("expert_feed_forward_length", int),
        "num_local_experts": settings.get("expert_count", int),
        "num_experts_per_tok": settings.get("expert_used_count", int),
        "sliding_window": settings.get("attention.sliding_window", int),
    }
    if in_mxfp4(settings.file):
        config["quantization_config"] = {"quant_method": "mxfp4"}
    scaling = _rope(settings, config).get("rope_scaling", {"rope_type": "default"})
    if scaling["rope_type"] == "yarn":
        scaling["truncate"] = False  # as published; files of llama.cpp do not say it
    return config | {"rope_scaling": scaling}


def _token_ids(file: GGUFFile) -> dict[str, Any]:
    """Return the ids that begin and end texts; an instruct model has one that ends its turn."""
    ids = {
        name: file.settings.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "eot", "eom")
    }
    known: dict[str, int] = {name: id for name, id in ids.items() if type(id) is int}
    ends = list(dict.fromkeys(known[name] for name in ("eos", "eot", "eom") if name in known))
    return {"bos_token_id": known.get("bos"), "eos_token_id": ends}


_GEMMA = {"activation": "hidden_activation", "function": "gelu_pytorch_tanh", "offset": True}
LAYOUTS: Mapping[str, Layout] = {
    "llama": Layout(NAMES, _llama, pairs=True),
    "qwen2": Layout(NAMES, _nothing),
    "qwen3": Layout(NAMES | QK_NORMS, _nothing),
    "gemma": Layout(NAMES, _nothing, "hidden_act", "gelu_pytorch_tanh", offset=True),
    "gemma2": Layout(NAMES | GEMMA2, _gemma2, **_GEMMA),  # type: ignore[arg-type]
    "gemma3": Layout(NAMES | GEMMA2 | QK_NORMS, _gemma3, **_GEMMA),  # type: ignore[arg-type]
    "gpt-oss": Layout(GPT_OSS, _gpt_oss, experts=True),
    "phi3": Layout(NAMES | {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}, _phi3),
}
"""Layouts by ``general.architecture``."""
MODEL_TYPES = {"gemma3": "gemma3_text", "gpt-oss": "gpt_oss"}
"""Names of architectures in transformers, where they differ."""
