"""LoRA and textual inversion, beside diffusers' pipeline with the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_lora_to_diffusers
from pipelines import saved, stable_diffusion, stable_diffusion_3
from safetensors.torch import save_file
from test_pipelines import difference, expected, made
from zoo_latent.lora import Adapter

import zoo_core as zoo
from zoo_core import OptionError, WeightsError

LAYERS = {
    "unet": [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
        "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.0.proj",
        "mid_block.attentions.0.proj_in",
    ],
    "text_encoder": ["text_model.encoder.layers.1.self_attn.v_proj", "text_model.encoder.layers.0.mlp.fc2"],
}
RANK, ALPHA, SCALE = 2, 3.0, 0.7


def layer_of(pipeline: Any, network: str, name: str) -> torch.nn.Module:
    module = getattr(pipeline, network)
    if network == "text_encoder" and not hasattr(module, "text_model"):
        name = name.removeprefix("text_model.")
    return module.get_submodule(name)


def matrices(pipeline: Any) -> dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    found = {}
    for network, names in LAYERS.items():
        for name in names:
            weight = layer_of(pipeline, network, name).weight
            tail = (1, 1) if weight.dim() == 4 else ()
            down = torch.randn(RANK, weight.shape[1], *tail) * 0.3
            found[network, name] = (torch.randn(len(weight), RANK, *tail) * 0.3, down)
    return found


def kohya(pairs: Any) -> dict[str, torch.Tensor]:
    tensors = {}
    for (network, name), (up, down) in pairs.items():
        start = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[network] + name.replace(".", "_")
        tensors |= {f"{start}.lora_up.weight": up, f"{start}.lora_down.weight": down}
        tensors[f"{start}.alpha"] = torch.tensor(ALPHA)
    return tensors


def diffusers_layout(pairs: Any) -> dict[str, torch.Tensor]:
    tensors = {}
    for (network, name), (up, down) in pairs.items():
        # This layout has no α: it is r, so the factor goes into a matrix.
        tensors[f"{network}.{name}.lora_A.weight"] = down
        tensors[f"{network}.{name}.lora_B.weight"] = up * ALPHA / RANK
    return tensors


@pytest.mark.parametrize("layout", [kohya, diffusers_layout])
def test_a_lora_is_added_to_the_weights(tmp_path: Path, layout: Any):
    pipeline = stable_diffusion(tmp_path)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    plain = made(model)
    pairs = matrices(pipeline)
    save_file({name: t.contiguous() for name, t in layout(pairs).items()}, tmp_path / "lora.safetensors")
    if layout is kohya:  # diffusers' converter knows these names
        converted = _convert_non_diffusers_lora_to_diffusers(kohya(pairs))[0]
        assert len(converted) == 2 * len(pairs)
    for (network, name), (up, down) in pairs.items():
        weight = layer_of(pipeline, network, name).weight
        weight.data += (SCALE * ALPHA / RANK * up.flatten(1) @ down.flatten(1)).view(weight.shape)
    options = {"lora": str(tmp_path / "lora.safetensors"), "lora_scale": SCALE}
    assert difference(made(model, **options), expected(pipeline)) < 1e-4
    assert torch.equal(made(model), plain)  # the next run has none of it
    sample = next(model.generate("fox", steps=1, seed=0, **options))
    assert len(sample.record.files["lora"]) == 64


def test_the_scale_of_each_layer_is_that_of_peft(tmp_path: Path):
    pipeline = stable_diffusion_3(tmp_path)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    config = peft.LoraConfig(
        r=4, lora_alpha=6, use_rslora=True, target_modules=["to_q", "add_k_proj", "ff.net.2"],
        rank_pattern={"to_q": 2}, alpha_pattern={"0.attn.to_q": 5, "net.2": 3}, init_lora_weights=False,
    )  # fmt: skip
    pipeline.transformer.add_adapter(config)
    tensors = peft.get_peft_model_state_dict(pipeline.transformer)
    settings = {f"transformer.{key}": value for key, value in config.to_dict().items()}
    save_file(
        {f"transformer.{name}": tensor.contiguous() for name, tensor in tensors.items()},
        tmp_path / "lora.safetensors",
        {"lora_adapter_metadata": json.dumps(settings, default=list)},
    )
    noise = zoo.Noise([0, 1]).normal(16, 8, 8)
    images = pipeline(
        ["a red fox"] * 2, num_inference_steps=3, latents=noise, height=16, width=16, output_type="pt"
    ).images
    assert difference(made(model, steps=3, lora=str(tmp_path / "lora.safetensors")), images * 2 - 1) < 1e-4
    assert difference(made(model, steps=3), images * 2 - 1) > 0.01


@pytest.mark.parametrize(
    ("tensors", "wrong"),
    [
        ({"lora_unet_no.lora_up.weight": (4, 2), "lora_unet_no.lora_down.weight": (2, 4)}, "for another"),
        ({"lora_unet_conv_in.hada_w1_a": (4, 2)}, "another kind"),
        ({"unet.conv_in.lora_A.weight": (2, 4)}, "incomplete"),
        ({"some.weight": (2, 2)}, "no LoRA"),
        ({"other.lora_A.weight": (2, 4), "other.lora_B.weight": (4, 2)}, "of no network"),
    ],
)  # fmt: skip
def test_what_is_no_lora_of_this_model_is_refused(tmp_path: Path, tensors: Any, wrong: str):
    model = zoo.load(saved(stable_diffusion(tmp_path), tmp_path), device="cpu")
    file = tmp_path / "lora.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, file)
    with pytest.raises(WeightsError, match=wrong) as caught:
        list(model.generate("fox", steps=1, lora=str(file)))
    assert caught.value.remedy
    with pytest.raises(OptionError, match="There is no LoRA"):
        list(model.generate("fox", steps=1, lora="nowhere"))


def test_a_new_word_is_read_from_a_file(tmp_path: Path):
    pipeline = stable_diffusion(tmp_path)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    vectors = torch.randn(2, 16)
    save_file({"<toy>": vectors}, tmp_path / "toy.safetensors")
    plain = made(model, "a <toy>")
    pipeline.load_textual_inversion(str(tmp_path / "toy.safetensors"))
    words, negative = pipeline.encode_prompt("a <toy>", "cpu", 1, True)
    noise = zoo.Noise([0, 1]).normal(4, 8, 8)
    images = pipeline(
        prompt_embeds=words.expand(2, -1, -1), negative_prompt_embeds=negative.expand(2, -1, -1),
        latents=noise, num_inference_steps=20, output_type="pt",
    ).images  # fmt: skip
    ours = made(model, "a <toy>", embedding=str(tmp_path / "toy.safetensors"))
    assert difference(ours, images * 2 - 1) < 1e-4
    assert not torch.equal(ours, plain)
    save_file({"<toy>": torch.randn(2, 7)}, tmp_path / "toy.safetensors")
    with pytest.raises(WeightsError, match="for another model"):
        made(zoo.load(tmp_path / "model", device="cpu"), "a", embedding=str(tmp_path / "toy.safetensors"))


@pytest.mark.parametrize(
    ("metadata", "wrong"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"unet.use_dora": true}', "use_dora is not supported"),
        ('{"unet.alpha_pattern": {"(a+)+$": 4}}', "alpha_pattern is no table"),
        ('{"unet.alpha_pattern": {"to_q": "4"}}', "lora_alpha is '4'; expected a number"),
        ('{"unet.lora_alpha": NaN}', "lora_alpha is nan; expected a number"),
    ],
)
def test_a_lora_whose_settings_are_not_supported_is_refused(tmp_path: Path, metadata: str, wrong: str):
    pair = {"unet.conv_in.lora_A.weight": torch.ones(2, 4), "unet.conv_in.lora_B.weight": torch.ones(4, 2)}
    save_file(pair, tmp_path / "lora.safetensors", {"lora_adapter_metadata": metadata})
    with pytest.raises(WeightsError, match=wrong):
        Adapter(tmp_path / "lora.safetensors")
