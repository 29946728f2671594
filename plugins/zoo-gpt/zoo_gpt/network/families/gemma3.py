"""Gemma 3 (arXiv:2503.19786): Gemma 2 with two ropes and normalised queries and keys.

The text part of the files that also see images is the same network in a table of its own.
"""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import gemma, gemma2, llama
from zoo_gpt.network.family import ConfigReader, Family
from zoo_gpt.network.rope_settings import longest_context, read_rope

NAMES = llama.QK_NORM_NAMES | gemma2.NAMES
SIZES = {
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131072,
}
"""Defaults, which the published files with images rely on."""


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a config of Gemma 3's text model."""
    settings = gemma.shared_settings(reader, activation_name="hidden_activation", sizes=SIZES)
    every = reader.size("sliding_window_pattern", default=6)
    windows = gemma2.windows(reader, settings["layers"], every)
    # Layers with a window keep the theta of earlier models; the others have a larger one and may be scaled.
    parameters = reader.object("rope_parameters")
    head_dim, context = settings["head_dim"], settings["context"]
    near, far = (
        read_rope(reader, head_dim, context, table, theta=theta, share=1.0)
        for table, theta in (
            (
                parameters.get("sliding_attention") or {},
                reader.get(float, "rope_local_base_freq", default=10000.0),
            ),
            (
                {**(parameters.get("full_attention") or {}), **reader.object("rope_scaling")},
                reader.get(float, "rope_theta", default=1000000.0),
            ),
        )
    )
    settings |= {"rope": far, "context": longest_context(far, context)}
    return TransformerConfig(
        **settings,
        **gemma2.own_settings(reader, caps=(None, None)),
        qk_norm="head",
        windows=windows,
        layer_ropes=tuple(far if window is None else near for window in windows),
    )


def read_with_images(reader: ConfigReader) -> TransformerConfig:
    """Read the text part of a Gemma 3 config with images."""
    reader.read |= {"vision_config", "mm_tokens_per_image"}
    reader.read |= {f"{token}_token_{kind}" for token in ("boi", "eoi", "image") for kind in ("id", "index")}
    reader.require(True, "tie_word_embeddings")
    return read(reader.nested("text_config"))


FAMILY = Family(read, NAMES, "model.")
WITH_IMAGES = Family(
    read_with_images,
    NAMES,
    "language_model.model.",
    other_prefixes=("model.language_model.", "language_model."),
    unused=tuple(
        f"{prefix}{part}." for prefix in ("", "model.") for part in ("vision_tower", "multi_modal_projector")
    ),
)
