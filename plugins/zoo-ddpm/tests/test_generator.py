"""The generator on tiny random networks, through zoo_core.load() as a user meets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from zoo_ddpm import checkpoint
from zoo_ddpm.generator import batch_size
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

import zoo_core as zoo
from zoo_core import OptionError, WeightsError

NETWORK: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}


def write(folder: Path, scheduler: dict[str, Any], zoo_table: dict[str, Any], **network: Any) -> Path:
    torch.manual_seed(0)
    unet = UNet(UNetConfig(**(NETWORK | network)))
    checkpoint.write(folder, unet, {"_class_name": "DDPMScheduler"} | scheduler, zoo_table)
    return folder


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory) -> zoo.Model:
    folder = tmp_path_factory.mktemp("unconditional")
    return zoo.load(write(folder, {"num_train_timesteps": 100}, {}), device="cpu")


@pytest.fixture(scope="module")
def conditional(tmp_path_factory) -> zoo.Model:
    folder = tmp_path_factory.mktemp("conditional")
    table = {"null_class": 3, "class_names": ["cat", "dog", "owl"]}
    scheduler = {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}
    return zoo.load(write(folder, scheduler, table, num_class_embeds=4), device="cpu")


def images(model: zoo.Model, **arguments: Any) -> torch.Tensor:
    return torch.stack([sample.tensor for sample in model.generate(**arguments)])


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp-2m"])
def test_every_sampler_makes_finite_images_in_range(unconditional, sampler):
    made = images(unconditional, n=2, seed=0, sampler=sampler, steps=4)

    assert made.shape == (2, 1, 8, 8)
    assert made.abs().max() <= 1
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize(
    "options",
    [{"sampler": "ddpm"}, {"sampler": "ddim", "eta": 0.7}, {"sampler": "dpmpp-2m"}, {"clip": "dynamic"}],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_sample_does_not_depend_on_the_batch_it_rides_in(conditional, options):
    alone = images(conditional, n=5, seed=3, steps=5, batch_size=1, guidance_scale=4.0, **options)
    together = images(conditional, n=5, seed=3, steps=5, batch_size=4, guidance_scale=4.0, **options)

    assert (alone - together).abs().max() <= 1e-4


def test_every_step_previews_x_0_and_the_last_step_carries_the_sample(unconditional):
    seen = []
    (sample,) = unconditional.generate(
        n=1, seed=0, sampler="ddim", steps=6, on_step=lambda progress: seen.append(progress.step)
    )

    assert [(step.index, step.total) for step in seen] == [(i, 6) for i in range(1, 7)]
    assert all(step.images is not None and step.images.abs().max() <= 1 for step in seen)
    assert torch.equal(seen[-1].images[0], sample.tensor)


def test_the_scheduler_config_decides_sampler_and_steps_where_nothing_is_given(unconditional, conditional):
    def steps_of(model: zoo.Model, **options: Any) -> int:
        seen = []
        list(model.generate(n=1, seed=0, on_step=lambda progress: seen.append(progress.step), **options))
        return len(seen)

    assert steps_of(unconditional) == 100  # DDPMScheduler with 100 timesteps
    assert steps_of(conditional) == 50  # DDIMScheduler
    assert steps_of(conditional, sampler="dpmpp-2m") == 20
    assert torch.equal(images(conditional, n=1, seed=0), images(conditional, n=1, seed=0, sampler="ddim"))


def test_a_drawn_label_is_recorded_and_giving_it_makes_the_same_image(conditional):
    drawn = list(conditional.generate(n=6, seed=0, steps=2))
    labels = [sample.record.metadata["label"] for sample in drawn]
    given = images(conditional, n=6, seed=0, steps=2, label=labels)

    assert {*labels} <= {0, 1, 2}
    assert len({*labels}) > 1
    assert [sample.record.metadata["class"] for sample in drawn] == [["cat", "dog", "owl"][i] for i in labels]
    assert (given - torch.stack([sample.tensor for sample in drawn])).abs().max() <= 1e-4


def test_labels_and_guidance_change_the_image(conditional):
    def image(**options: Any) -> torch.Tensor:
        return images(conditional, n=1, seed=0, steps=2, **options)

    plain = image(label=0, guidance_scale=1.0)
    assert not torch.equal(plain, image(label=1, guidance_scale=1.0))
    assert not torch.equal(plain, image(label=0, guidance_scale=5.0))
    assert torch.equal(image(label=0), image(label=0, guidance_scale=1.5))


def test_guidance_of_zero_ignores_the_label(conditional):
    made = images(conditional, n=1, seed=0, steps=2, label=0, guidance_scale=0.0)
    other = images(conditional, n=1, seed=0, steps=2, label=2, guidance_scale=0.0)

    assert (made - other).abs().max() <= 1e-6


@pytest.mark.parametrize(
    ("options", "message", "remedy"),
    [
        ({"label": 1}, "--label: this model has no classes.", "Leave out --label."),
        (
            {"guidance_scale": 2.0},
            "--guidance-scale 2: this model has no null class, so it cannot be guided.",
            "Leave out --guidance-scale, or name a weaker model by --guide.",
        ),
        ({"steps": 101}, "--steps 101: the model has 100 timesteps.", "Give --steps from 1 to 100."),
        (
            {"eta": 0.5, "sampler": "ddpm"},
            "--eta is an option of ddim, euler-ancestral, dpm2-ancestral, dpmpp-2m-sde, dpmpp-2s-ancestral, "
            "dpmpp-sde, not of the sampler ddpm.",
            "Add --sampler ddim, or leave out --eta.",
        ),
        (
            {"steps": 100, "sampler": "dpmpp-2m"},
            "100 steps of linspace spacing do not fit into 100 timesteps with dpmpp-2m.",
            "Give fewer --steps, or another --spacing.",
        ),
    ],
)
def test_wrong_combinations_are_refused_with_a_remedy(unconditional, options, message, remedy):
    with pytest.raises(OptionError) as caught:
        list(unconditional.generate(n=1, seed=0, **options))

    assert (caught.value.message, caught.value.remedy) == (message, remedy)


def test_a_label_out_of_range_is_refused_with_the_range(conditional):
    with pytest.raises(OptionError) as caught:
        list(conditional.generate(n=1, seed=0, label=3))

    assert (caught.value.message, caught.value.remedy) == (
        "--label 3: this model has 3 classes.",
        "Give 0 to 2 (cat, dog, owl).",
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_dtypes_make_nearly_the_same_image(conditional, dtype):
    model = zoo.load(conditional.checkpoint.files["config.json"].parent, device="cpu", dtype=dtype)

    made = images(model, n=1, seed=0, steps=3, label=1)

    assert model.dtype == dtype
    assert made.dtype == torch.float32
    assert (made - images(conditional, n=1, seed=0, steps=3, label=1)).abs().max() < 0.1


@pytest.mark.parametrize(
    ("scheduler", "table", "network", "message"),
    [
        (
            {"variance_type": "learned_range"},
            {},
            {},
            "variance_type learned_range needs 2 output channels, but config.json has 1",
        ),
        ({"shift": 3.0}, {}, {}, "unknown setting 'shift'"),
        (
            {},
            {"null_class": 0},
            {"num_class_embeds": 4},
            "do not fit 3 classes",
        ),
    ],
)
def test_checkpoints_that_contradict_themselves_are_refused(tmp_path, scheduler, table, network, message):
    write(tmp_path, scheduler, table, **network)

    with pytest.raises(WeightsError, match=message):
        zoo.load(tmp_path, device="cpu")


def test_a_learned_variance_is_sampled(tmp_path):
    model = zoo.load(
        write(tmp_path, {"variance_type": "learned_range", "num_train_timesteps": 50}, {}, out_channels=2),
        device="cpu",
    )

    assert images(model, n=2, seed=0, steps=10).shape == (2, 1, 8, 8)


def test_batches_shrink_with_the_size_of_image_and_network():
    cifar = UNetConfig(
        sample_size=32, block_out_channels=(128, 256, 256, 256), norm_num_groups=32, attention_head_dim=None
    )
    celeba = UNetConfig(
        sample_size=256,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=("DownBlock2D",) * 6,
        up_block_types=("UpBlock2D",) * 6,
        attention_head_dim=None,
    )

    assert batch_size(cifar, guided=False) == 64
    assert batch_size(celeba, guided=False) == 2
    assert batch_size(celeba, guided=True) == 1


def test_a_sampler_of_the_users_own_is_run_and_its_name_recorded(unconditional):
    def mine(predict, x, steps, normal):
        """DDIM without noise, written again."""
        for step in steps:
            found = predict(x, step)
            alpha_bar = step.alpha_bar_prev
            x = alpha_bar**0.5 * found.x_0 + (1 - alpha_bar) ** 0.5 * found.epsilon
            yield x, found.x_0

    made = images(unconditional, sampler=mine, steps=5, seed=1)
    (sample,) = unconditional.generate(sampler=mine, steps=5, seed=1)
    expected = images(unconditional, sampler="ddim", steps=5, spacing="leading", seed=1)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert str(sample.record.options["sampler"]).endswith(".mine")
    for wrong, problem in (
        (lambda predict, x, steps, normal: iter([(x, x)]), "yielded 1 times in 5 steps"),
        (lambda predict, x, steps, normal: iter([(x[:, :0], x)] * 5), "yielded shapes"),
    ):
        with pytest.raises(zoo.OptionError, match=problem):
            images(unconditional, sampler=wrong, steps=5, seed=1)
    with pytest.raises(zoo.OptionError, match="not of the sampler of yours"):
        images(unconditional, sampler=mine, steps=5, seed=1, eta=0.5)


def test_every_step_has_x_t_beside_the_prediction(unconditional):
    steps = []
    x_T = zoo.Noise([3]).normal(*unconditional.generator.shape)
    (sample,) = unconditional.generate(
        sampler="ddim", steps=4, latents=x_T, on_step=lambda progress: steps.append(progress.step)
    )
    assert [step.x_t is not None and step.images.shape == step.x_t.shape for step in steps] == [True] * 4
    assert not torch.equal(steps[0].images, steps[0].x_t)
    torch.testing.assert_close(steps[-1].x_t.clamp(-1, 1)[0], sample.tensor)
