"""Say what a repository or a folder is that no plugin runs, from its small files and its file names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo_core.errors import ZooError, short_repr, some

Read = Callable[[str], Mapping[str, Any]]
"""Returns the JSON object in a file."""

LORA = "pytorch_lora_weights.safetensors"
"""File of a LoRA, as diffusers names it."""
_KINDS = {
    ".gguf": "model files in GGUF",
    ".ckpt": "a checkpoint in one file",
    ".pkl": "a pickle",
    ".pth": "weights of PyTorch without a config",
    ".pt": "weights of PyTorch without a config",
    ".bin": "weights of PyTorch without a config",
    ".safetensors": "weights without a config",
    ".onnx": "an ONNX model",
    ".tflite": "a TensorFlow Lite model",
    ".h5": "weights of TensorFlow",
    ".msgpack": "weights of Flax",
    ".nemo": "a NeMo model",
    ".mlpackage": "a Core ML model",
}
"""What a file is by its suffix, the most telling first."""


def identify(names: Sequence[str], read: Read) -> str:
    """Return what holds these files: "a diffusers pipeline (StableDiffusionPipeline)".

    Args:
        names: Its files.
        read: Called for small configs only; an error counts as a file that says nothing.
    """
    held = set(names)

    def config(name: str) -> Mapping[str, Any]:
        try:
            return read(name) if name in held else {}
        except ZooError:
            return {}

    if "modules.json" in held or "config_sentence_transformers.json" in held:
        return "a sentence-transformers encoder, which makes vectors, not samples"
    if adapter := config("adapter_config.json"):
        return f"an adapter ({_text(adapter, 'peft_type')}) of {_text(adapter, 'base_model_name_or_path')}"
    if LORA in held:
        return "a LoRA of diffusers, a change of another model"
    if pipeline := config("model_index.json"):
        return f"a diffusers pipeline ({_text(pipeline, '_class_name')})"
    if stated := config("config.json"):
        return _of_config(stated)
    for suffix, kind in _KINDS.items():
        if found := [name for name in names if name.lower().endswith(suffix)]:
            return f"{kind} ({some(found)})"
    return f"no model: it has {some(list(names)) or 'no files'}"


def base_of_adapter(names: Sequence[str], read: Read) -> str | None:
    """Return the model that an adapter changes; None for what is no adapter, or does not say."""
    base = (
        read("adapter_config.json").get("base_model_name_or_path") if "adapter_config.json" in names else None
    )
    return base if isinstance(base, str) and base else None


def _of_config(config: Mapping[str, Any]) -> str:
    classes = config.get("architectures")
    architecture = classes[0] if isinstance(classes, list) and classes else None
    quantised = config.get("quantization_config")
    method = quantised.get("quant_method") if isinstance(quantised, dict) else None
    extra = f", quantised with {_shown(method)}" if method else ""
    if (model_type := config.get("model_type")) is not None:
        named = f" ({_shown(architecture)})" if architecture else ""
        return f"a transformers model of the type {_shown(model_type)}{named}{extra}"
    if (kind := config.get("_class_name")) is not None:
        return f"a network of diffusers ({_shown(kind)}){extra}"
    if architecture:
        return f"a model of the architecture {_shown(architecture)}{extra}"
    return "a model whose config.json says neither model_type, _class_name nor architectures"


def _text(config: Mapping[str, Any], key: str) -> str:
    return _shown(config[key]) if config.get(key) else f"{key} unknown"


def _shown(value: object) -> str:
    return short_repr(value).strip("'\"") if isinstance(value, str) else short_repr(value)
