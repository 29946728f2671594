"""The network: golden outputs, diffusers' own network on the same weights, and the options of config.json."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from zoo_ddpm.checkpoint import current_names
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

from zoo_core import WeightsError

CIFAR10 = {
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.0.4",
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}
"""config.json of google/ddpm-cifar10-32."""

CELEBAHQ = CIFAR10 | {
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "down_block_types": ["DownBlock2D"] * 4 + ["AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D"] + ["UpBlock2D"] * 4,
    "sample_size": 256,
}
"""config.json of google/ddpm-celebahq-256 and its kind."""

BUTTERFLIES = {
    "sample_size": 16,
    "block_out_channels": [32, 32, 64, 64],
    "down_block_types": ["DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
    "norm_num_groups": 8,
}
"""The library's defaults but for the levels and their groups, as its training example leaves them."""

CONSISTENCY = {
    "sample_size": 16,
    "block_out_channels": [32, 64, 96],
    "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "resnet_time_scale_shift": "scale_shift",
    "attn_norm_num_groups": 32,
    "attention_head_dim": 16,
    "num_class_embeds": 7,
}
"""config.json of openai/diffusers-cd_imagenet64_l2, a sixth as wide."""

NCSNPP = {
    "sample_size": 32,
    "block_out_channels": [32, 32, 64, 64],
    "down_block_types": ["SkipDownBlock2D", "SkipDownBlock2D", "AttnSkipDownBlock2D", "SkipDownBlock2D"],
    "up_block_types": ["SkipUpBlock2D", "AttnSkipUpBlock2D", "SkipUpBlock2D", "SkipUpBlock2D"],
    "time_embedding_type": "fourier",
    "norm_num_groups": None,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
    "mid_block_scale_factor": 1.41421356237,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
}
"""config.json of google/ncsnpp-ffhq-256 and its kind, a quarter as wide."""

LAYOUTS: dict[str, dict[str, Any]] = {
    "cifar10": CIFAR10 | {"block_out_channels": [16, 32, 32, 32], "norm_num_groups": 8, "sample_size": 16},
    "celebahq": CELEBAHQ
    | {"block_out_channels": [8, 8, 16, 16, 32, 32], "norm_num_groups": 4, "sample_size": 64},
    "butterflies": BUTTERFLIES,
    "class-conditional": BUTTERFLIES | {"num_class_embeds": 11, "in_channels": 1, "out_channels": 2},
    "without attention in the middle": BUTTERFLIES | {"add_attention": False, "layers_per_block": 1},
    "scaled middle": BUTTERFLIES | {"mid_block_scale_factor": 1.4142},
    "images in [0, 1]": BUTTERFLIES | {"center_input_sample": True},
    "resampling residual blocks": BUTTERFLIES
    | {
        "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D", "UpBlock2D"],
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "time_embedding_dim": 48,
    },
    "consistency model": CONSISTENCY,
    "NCSN++": NCSNPP,
    "NCSN++ with classes": NCSNPP | {"class_embed_type": "timestep"},
    "classes as timesteps": BUTTERFLIES | {"class_embed_type": "timestep"},
    "classes as vectors": BUTTERFLIES | {"class_embed_type": "identity"},
    "not square": BUTTERFLIES | {"sample_size": [16, 24], "attention_head_dim": 16},
}


def diffusers_unet(config: dict[str, Any]) -> diffusers.UNet2DModel:
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(**{k: v for k, v in config.items() if not k.startswith("_")}).eval()
    # Norms begin as the identity; random ones show a norm that is in the wrong place.
    for name, parameter in unet.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter.data, mean=float("weight" in name), std=0.3)
    return unet


def same_unet(theirs: diffusers.UNet2DModel, config: dict[str, Any]) -> UNet:
    ours = UNet(UNetConfig.from_json(config))
    ours.load_state_dict(theirs.state_dict())
    return ours.eval()


def inputs(config: UNetConfig, n: int = 3) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, config.in_channels, *config.image_size, generator=generator)
    labels = None
    if config.class_embed_type == "timestep":
        labels = torch.tensor([3.0, 8.0, 1.0])[:n]
    elif config.class_embed_type == "identity":
        labels = torch.randn(n, config.embedding_width, generator=generator)
    elif config.num_class_embeds:
        labels = torch.arange(n) % config.num_class_embeds
    if config.time_embedding_type == "fourier":
        return x, torch.tensor([1300.0, 12.0, 0.02])[:n], labels
    return x, torch.tensor([999, 500, 0, 17, 1, 250])[:n], labels


@pytest.mark.parametrize("name", ["unet2d_ddpm_cifar10", "unet2d_butterflies", "unet2d_class_cond"])
def test_outputs_and_every_stage_are_those_of_the_golden_case(golden, relative_error, name):
    case = golden(name)
    unet = UNet(UNetConfig.from_json(case.about["published_config"]))
    unet.load_state_dict(current_names(case.under("weights/")))
    stages: dict[str, Tensor] = {}
    modules = {"time_embedding": unet.time_embedding, "conv_in": unet.conv_in, "mid": unet.mid_block}
    modules |= {f"down{i}": block for i, block in enumerate(unet.down_blocks)}
    modules |= {f"up{i}": block for i, block in enumerate(unet.up_blocks)}
    for stage, module in modules.items():
        module.register_forward_hook(lambda _, __, out, stage=stage: stages.update({stage: out}))
    errors = case.about["tolerance_observed"]["max_abs_diff_float32_vs_float64"]
    largest = case.about["max_abs_of_outputs"]
    labels = case.tensors.get("inputs/class_labels")

    outputs = case.under("outputs/")
    assert len(outputs) >= 6
    for output, expected in outputs.items():
        t = (
            int(output.removeprefix("eps_t"))
            if output.startswith("eps_t")
            else case["inputs/timesteps_mixed"]
        )
        given = case["inputs/class_labels_other"] if output == "eps_other_classes" else labels
        with torch.inference_mode():
            ours = unet(case["inputs/sample"], t, given)
        assert relative_error(ours, expected) <= 15 * errors[output] / largest[output], output
        if output == "eps_mixed":
            for stage, expected_stage in case.under("intermediates/").items():
                if stage != "time_proj":
                    found = stages[stage][-1] if isinstance(stages[stage], list) else stages[stage]
                    assert relative_error(found, expected_stage) < 1e-4, stage
            assert {f"intermediates/{stage}" for stage in stages} <= set(case.tensors)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_are_those_of_diffusers_on_the_same_random_weights(relative_error, layout):
    config = LAYOUTS[layout]
    theirs = diffusers_unet(config)
    ours = same_unet(theirs, config)
    x, t, labels = inputs(ours.config)
    # Angles of the logarithm of a noise level are large: float32 leaves fewer digits of them.
    bound = 5e-5 if ours.time_proj is not None else 1e-5
    with torch.inference_mode():
        assert relative_error(ours(x, t, labels), theirs(x, t, labels).sample) <= bound
        assert relative_error(ours(x, 640, labels), theirs(x, 640, labels).sample) <= bound
        if ours.config.class_embed_type == "timestep":
            return  # diffusers cannot embed such classes in float64
        t = t.double() if t.is_floating_point() else t
        theirs64 = theirs.double()(x.double(), t, labels).sample
        assert relative_error(ours.double()(x.double(), t, labels), theirs64) <= 1e-12


def test_outputs_are_those_of_diffusers_at_the_full_size_of_ddpm_cifar10(relative_error):
    theirs = diffusers_unet(CIFAR10)
    ours = same_unet(theirs, CIFAR10)
    assert sum(p.numel() for p in ours.parameters()) == 35_746_307
    x, t, _ = inputs(ours.config, n=2)
    with torch.inference_mode():
        assert relative_error(ours(x, t), theirs(x, t).sample) <= 1e-5


@pytest.mark.parametrize("config", [CIFAR10, CELEBAHQ], ids=["35.7M", "113.7M"])
def test_names_and_shapes_of_tensors_are_those_of_the_published_checkpoints(config):
    with torch.device("meta"):
        ours = UNet(UNetConfig.from_json(config)).state_dict()
        theirs = diffusers.UNet2DModel(**{k: v for k, v in config.items() if k[0] != "_"}).state_dict()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}
    published = {4: 35_746_307, 6: 113_673_219}
    assert sum(t.numel() for t in ours.values()) == published[len(config["block_out_channels"])]


def test_one_timestep_for_all_is_the_same_as_one_each(relative_error):
    unet = UNet(UNetConfig.from_json(BUTTERFLIES)).eval()
    x, *_ = inputs(unet.config)
    with torch.inference_mode():
        assert relative_error(unet(x, 500), unet(x, torch.tensor([500, 500, 500]))) < 1e-6
        assert torch.equal(unet(x, 500), unet(x, torch.tensor(500.0)))
        assert relative_error(unet(x, 500), unet(x, 501)) > 1e-4


def test_every_parameter_learns():
    torch.manual_seed(0)
    unet = UNet(UNetConfig.from_json(LAYOUTS["class-conditional"] | {"dropout": 0.1})).train()
    x, t, labels = inputs(unet.config)
    unet(x, t, labels).square().mean().backward()
    # The softmax cancels what a key's bias adds to all scores.
    still = {n for n, p in unet.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9}
    assert all(name.endswith("to_k.bias") for name in still)


def test_dropout_acts_in_training_alone():
    unet = UNet(UNetConfig.from_json(BUTTERFLIES | {"dropout": 0.5}))
    x, t, _ = inputs(unet.config)
    with torch.inference_mode():
        assert not torch.equal(unet.train()(x, t), unet(x, t))
        assert torch.equal(unet.eval()(x, t), unet(x, t))


def test_labels_are_for_class_conditional_networks_which_need_them():
    conditional = UNet(UNetConfig.from_json(LAYOUTS["class-conditional"]))
    unconditional = UNet(UNetConfig.from_json(BUTTERFLIES))
    with pytest.raises(ValueError, match="labels"):
        conditional(torch.zeros(1, 1, 16, 16), 0)
    with pytest.raises(ValueError, match="labels"):
        unconditional(torch.zeros(1, 3, 16, 16), 0, torch.tensor([0]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_config_that_is_written_is_read_back_by_us_and_by_diffusers(layout):
    config = UNetConfig.from_json(LAYOUTS[layout])
    written = config.to_json()
    assert UNetConfig.from_json(written) == config
    with torch.device("meta"):
        theirs = diffusers.UNet2DModel.from_config(written).state_dict()
        assert set(UNet(config).state_dict()) == set(theirs)


def test_what_config_json_leaves_out_means_what_it_means_in_diffusers():
    with torch.device("meta"):
        theirs = diffusers.UNet2DModel().config
    ours = UNetConfig().to_json()
    assert ours.pop("_class_name") == "UNet2DModel"
    assert ours == {name: theirs[name] for name in ours}


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("act_fn", "mish", "one of silu"),
        ("block_type", "x", "unknown setting 'block_type'"),
        ("attn_norm_num_groups", 7, "does not divide 64"),
        ("class_embed_type", "projection", "one of None, timestep, identity"),
        ("downsample_type", "pool", "one of conv, resnet"),
        ("mid_block_type", "UNetMidBlock2DCrossAttn", "expected one of UNetMidBlock2D"),
        ("resnet_time_scale_shift", "spatial", "one of default, scale_shift"),
        ("time_embedding_dim", 0, "an integer from 1"),
        ("time_embedding_type", "learned", "one of positional, fourier"),
        ("attention_heads", 5, "does not divide"),
        ("upsample_type", "fir", "one of conv, resnet"),
        ("sample_size", 12, "expected a multiple of 8"),
        ("sample_size", 2**40, "an integer from 1 to 8,192"),
        ("sample_size", [16, 16, 16], "a list of 2"),
        ("sample_size", [16, 2**40], "an integer from 1 to 8,192"),
        ("sample_size", "16", "an integer"),
        ("in_channels", 0, "an integer from 1"),
        ("in_channels", True, "an integer from 1"),
        ("out_channels", 3.0, "an integer from 1"),
        ("layers_per_block", 10**9, "an integer from 1 to 64"),
        ("block_out_channels", [], "0 levels"),
        ("block_out_channels", 32, "a list"),
        ("block_out_channels", [32, 32, 64, 70], "which norm_num_groups 8 does not divide"),
        ("down_block_types", ["DownBlock2D"] * 2, "expected 4, one a level"),
        ("down_block_types", ["CrossAttnDownBlock2D"] * 4, "one of DownBlock2D, AttnDownBlock2D"),
        ("up_block_types", ["UpBlock2D"] * 3, "expected 4, one a level"),
        ("up_block_types", "UpBlock2D", "a list"),
        ("attention_head_dim", 48, "does not divide"),
        ("attention_head_dim", 0, "an integer from 1"),
        ("norm_eps", 0, "a number from 1e-12"),
        ("mid_block_scale_factor", -1, "a number from 1e-06"),
        ("dropout", 1, "a number from 0 to 0.999"),
        ("downsample_padding", 2, "one of 0, 1"),
        ("freq_shift", 16, "less than 16"),
        ("freq_shift", "1", "a number"),
        ("flip_sin_to_cos", 1, "true or false"),
        ("center_input_sample", "no", "true or false"),
        ("num_class_embeds", -1, "an integer from 1 to 1,048,576"),
        ("num_class_embeds", 10**12, "an integer from 1 to 1,048,576"),
    ],
)
def test_an_unknown_option_or_an_unsupported_value_is_refused_by_name(option, value, expected):
    with pytest.raises(WeightsError) as caught:
        UNetConfig.from_json(BUTTERFLIES | {option: value}, "hf:someone/something: config.json")
    assert caught.value.message.startswith("hf:someone/something: config.json: ")
    assert option in caught.value.message
    assert expected in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("option", ["layers_per_block", "norm_eps", "add_attention", "dropout"])
def test_an_option_that_is_null_is_left_out(option):
    without = {key: value for key, value in BUTTERFLIES.items() if key != option}
    small = {"block_out_channels": [32, 64, 128, 128]}
    assert UNetConfig.from_json(without | small | {option: None}) == UNetConfig.from_json(without | small)


def test_how_weights_were_averaged_says_nothing_about_the_network():
    ema = {"decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0, "optimization_step": 500, "power": 0.75,
           "update_after_step": 0, "use_ema_warmup": True}  # fmt: skip
    assert UNetConfig.from_json(BUTTERFLIES | ema) == UNetConfig.from_json(BUTTERFLIES)


def test_an_odd_first_level_is_refused_because_sines_and_cosines_come_in_pairs():
    config = {"block_out_channels": [9], "norm_num_groups": 3, "attention_head_dim": 3}
    blocks = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"]}
    with pytest.raises(WeightsError, match="block_out_channels begins with 9"):
        UNetConfig.from_json(config | blocks)


def test_metadata_and_options_without_effect_are_passed_over():
    extra = {"_name_or_path": "x", "num_train_timesteps": 1000, "zoo": {"null_class": 10}}
    assert UNetConfig.from_json(BUTTERFLIES | extra) == UNetConfig.from_json(BUTTERFLIES)


def test_the_size_of_images_must_be_known_where_it_is_asked_for():
    assert UNetConfig(sample_size=32).image_size == (32, 32)
    assert UNetConfig(sample_size=(32, 64)).image_size == (32, 64)
    with pytest.raises(WeightsError, match="sample_size"):
        _ = UNetConfig().image_size


def test_heads_divide_the_channels_of_blocks_with_attention_only():
    widths = {"block_out_channels": [12, 16, 24], "norm_num_groups": 4, "attention_head_dim": 8}
    down = {"down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"]}
    up = {"up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"]}
    assert UNetConfig.from_json(widths | down | up).attention_head_dim == 8
    everywhere = {"down_block_types": ["AttnDownBlock2D"] * 3}
    with pytest.raises(WeightsError, match="attention_head_dim is 8"):
        UNetConfig.from_json(widths | everywhere | up)


def test_an_unknown_option_that_is_null_asks_for_nothing():
    assert UNetConfig.from_json({"some_new_option": None}) == UNetConfig()
