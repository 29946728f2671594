"""Noise schedules, timestep lists and scheduler configs against published tables and diffusers."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields

import diffusers
import pytest
import torch
from zoo_ddpm.schedule import OTHER_SCHEDULERS, SAMPLERS, SPACINGS, SchedulerConfig
from zoo_ddpm.timesteps import sampler_steps, timesteps

from zoo_core import OptionError, WeightsError

OPENAI = {
    "linear1000": {},
    "cosine1000": {"beta_schedule": "squaredcos_cap_v2"},
    # OpenAI's code scales the ends of its linear schedule to the number of timesteps.
    "linear100": {"num_train_timesteps": 100, "beta_start": 0.001, "beta_end": 0.2},
    "cosine50": {"num_train_timesteps": 50, "beta_schedule": "squaredcos_cap_v2"},
}


@pytest.mark.parametrize("name", OPENAI)
def test_schedules_and_posteriors_equal_the_tables_of_improved_diffusion(golden, relative_error, name):
    expected = golden("diffusion_schedules").under(f"outputs/openai/{name}/")
    config = SchedulerConfig(**OPENAI[name])
    steps = sampler_steps(config, "ddpm", config.num_train_timesteps, "trailing")[::-1]
    one = torch.ones((), dtype=torch.float64)
    ours = {
        "betas": config.betas(),
        "alphas_cumprod": config.alphas_bar(),
        "posterior_variance": torch.tensor([s.posterior_variance for s in steps], dtype=torch.float64),
        "posterior_mean_coef1": torch.stack([step.posterior_mean(one, 0 * one) for step in steps]),
        "posterior_mean_coef2": torch.stack([step.posterior_mean(0 * one, one) for step in steps]),
    }

    for table, values in ours.items():
        assert relative_error(values, expected[table]) <= 1e-9, table


DIFFUSERS = ["linear", "scaled_linear", "cosine", "linear_zero_snr", "scaled_linear_zero_snr"]


@pytest.mark.parametrize("name", DIFFUSERS)
def test_schedules_equal_the_float64_tables_of_diffusers(golden, relative_error, name):
    case = golden("diffusion_schedules")
    options = case.runs[f"diffusers/{name}"]
    config = SchedulerConfig.from_json({"prediction_type": "v_prediction", **options})

    expected = case[f"outputs/diffusers/{name}/alphas_cumprod_f64"]

    assert relative_error(config.alphas_bar(), expected) <= 1e-9
    # The noisiest timesteps, where the largest value hides a relative error.
    assert torch.allclose(config.alphas_bar()[-100:], expected[-100:], rtol=1e-6, atol=1e-12)


def test_zero_terminal_snr_ends_in_pure_noise_and_leaves_the_first_timestep():
    config = SchedulerConfig(rescale_betas_zero_snr=True, prediction_type="v_prediction")

    assert config.alphas_bar()[-1] == 0
    assert config.alphas_bar()[0] == pytest.approx(1 - config.beta_start)


def test_trained_betas_win_over_the_named_schedule():
    config = SchedulerConfig.from_json({"num_train_timesteps": 3, "trained_betas": [0.1, 0.2, 0.3]})

    assert config.alphas_bar().tolist() == pytest.approx([0.9, 0.72, 0.504])


def test_timestep_lists_equal_the_published_ones(golden):
    case = golden("diffusion_schedules")
    samplers = {"DDPMScheduler": False, "DDIMScheduler": False, "DPMSolverMultistepScheduler": True}
    compared = 0
    for run, about in case.runs.items():
        if about.get("scheduler") in samplers:
            ours = timesteps(
                about["timestep_spacing"],
                about["num_inference_steps"],
                about["num_train_timesteps"],
                about["steps_offset"],
                beyond_last=samplers[about["scheduler"]],
            )
            assert ours == case[f"outputs/{run}"].tolist(), run
            compared += 1
    assert compared == 47
    assert timesteps("leading", 25, 1000)[::-1] == case["outputs/respace/1000_ddim25"].tolist()


@pytest.mark.parametrize("T", [1000, 77])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_timestep_lists_equal_those_of_diffusers_for_every_number_of_steps(spacing, T):
    ddpm = diffusers.DDPMScheduler(T, timestep_spacing=spacing)
    for n in range(1, T + 1, 1 if T < 100 else 7):
        ddpm.set_timesteps(n)
        theirs = ddpm.timesteps.tolist()
        # Rounding now and then gives diffusers one timestep too many: −1, below the table.
        assert timesteps(spacing, n, T) == theirs[:n]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp-2m"])
def test_each_transition_ends_where_the_next_begins(sampler, spacing):
    steps = sampler_steps(SchedulerConfig(), sampler, 10, spacing)

    assert len(steps) == 10
    assert [step.alpha_bar_prev for step in steps[:-1]] == [step.alpha_bar for step in steps[1:]]
    assert steps[-1].alpha_bar_prev == 1


def test_a_schedule_of_one_step_leads_from_noise_to_data():
    (step,) = sampler_steps(SchedulerConfig(), "ddim", 1, "trailing")

    assert (step.t, step.alpha_bar_prev) == (999, 1)


@pytest.mark.parametrize(
    ("sampler", "steps", "spacing", "config"),
    [
        ("ddpm", 1001, None, {}),
        ("ddpm", 0, None, {}),
        ("ddpm", 1000, None, {"steps_offset": 1}),
        ("dpmpp-2m", 1000, "leading", {}),
        ("dpmpp-2m", 50, "quadratic", {}),
    ],
)
def test_step_counts_that_do_not_fit_are_refused(sampler, steps, spacing, config):
    with pytest.raises(OptionError, match=str(steps)):
        sampler_steps(SchedulerConfig(**config), sampler, steps, spacing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_schedule": "sigmoid"}, "beta_schedule is 'sigmoid'"),
        ({"prediction_type": "flow"}, "prediction_type is 'flow'"),
        ({"timestep_values": [1, 2]}, "the option 'timestep_values'"),
        ({"num_train_timesteps": "1000"}, "num_train_timesteps is '1000'"),
        ({"clip_sample": 1}, "clip_sample is 1"),
        ({"trained_betas": [0.1]}, "trained_betas has 1 values"),
        ({"beta_end": 1.5}, "betas run from 0.0001 to 1.5"),
        ({"rescale_betas_zero_snr": True}, "the last timestep is pure noise"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "the scheduler class is 'FlowMatch"),
        ({"_class_name": "IPNDMScheduler"}, "the scheduler class is 'IPNDM"),  # β = sin²
        ({"_class_name": "PNDMScheduler", "prediction_typ": "sample"}, "the option 'prediction_typ'"),
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "the option 'use_flow_sigmas'"),
        (
            {"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"},
            "the option 'timestep_type'",
        ),
        ({"skip_prk_steps": True}, "the option 'skip_prk_steps'"),
        ({"predict_epsilon": "x"}, "the option 'predict_epsilon'"),
    ],
    ids=str,
)
def test_what_a_scheduler_config_asks_for_and_we_lack_is_refused_by_name(options, message):
    with pytest.raises(WeightsError) as caught:
        SchedulerConfig.from_json(options, "somewhere: scheduler_config.json")

    assert caught.value.message.startswith(f"somewhere: scheduler_config.json: {message}")
    assert caught.value.remedy


@pytest.mark.parametrize(("predict_epsilon", "prediction"), [(True, "epsilon"), (False, "sample")])
def test_a_config_of_2022_is_read(predict_epsilon, prediction):
    old = {"tensor_format": "pt", "timestep_values": None, "predict_epsilon": predict_epsilon}
    assert SchedulerConfig.from_json(old).prediction_type == prediction


@pytest.mark.parametrize(
    ("options", "replaced"),
    [
        ({"_class_name": "PNDMScheduler", "skip_prk_steps": True}, "PNDMScheduler"),
        ({"_class_name": "UniPCMultistepScheduler", "solver_order": 3}, "UniPCMultistepScheduler"),
        ({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3}, "DPMSolverMultistepScheduler"),
        ({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 2}, None),
        ({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 2, "euler_at_final": True}, None),
        (
            {
                "_class_name": "DPMSolverMultistepScheduler",
                "euler_at_final": True,
                "final_sigmas_type": "sigma_min",
            },
            "DPMSolverMultistepScheduler",
        ),
        ({"_class_name": "DDIMScheduler"}, None),
    ],
    ids=str,
)
def test_another_scheduler_keeps_its_noise_schedule_and_is_sampled_by_ddim(options, replaced):
    config = SchedulerConfig.from_json({"beta_schedule": "scaled_linear", **options})
    assert config.replaced == replaced
    assert config.beta_schedule == "scaled_linear"
    assert config.sampler == ("dpmpp-2m" if options.get("solver_order") == 2 else "ddim")


@pytest.mark.parametrize("name", sorted(OTHER_SCHEDULERS | SAMPLERS.keys()))
def test_the_defaults_and_the_options_of_a_scheduler_class_are_those_of_diffusers(name):
    config = SchedulerConfig.from_json({"_class_name": name})
    known = {field.name for field in fields(config)}
    theirs = {
        key: parameter.default
        for key, parameter in inspect.signature(getattr(diffusers, name)).parameters.items()
        if parameter.default is not parameter.empty
    }
    SchedulerConfig.from_json({"_class_name": name, **theirs})
    # These defaults of ours belong to the sampler, not to the class.
    ours = {"timestep_spacing", "variance_type", "lower_order_final"}
    assert {key: getattr(config, key) for key in theirs.keys() & known - ours} == {
        key: theirs[key] for key in theirs.keys() & known - ours
    }
    assert config.clip_sample == theirs.get("clip_sample", False)


def test_options_set_to_null_ask_for_nothing():
    assert SchedulerConfig.from_json({"timestep_values": None, "trained_betas": None}) == SchedulerConfig()


@pytest.mark.parametrize(
    "scheduler",
    [
        diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="fixed_large"),
        diffusers.DDIMScheduler(set_alpha_to_one=False, steps_offset=1, clip_sample=False),
        diffusers.DPMSolverMultistepScheduler(final_sigmas_type="sigma_min", lower_order_final=False),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_configs_saved_by_diffusers_are_read_and_read_back_by_it(tmp_path, scheduler):
    scheduler.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "scheduler_config.json").read_text())

    config = SchedulerConfig.from_json(saved)
    again = type(scheduler).from_config(config.to_json()).config

    assert config.sampler == SAMPLERS[type(scheduler).__name__]
    assert {key: again[key] for key in saved if key[0] != "_"} == {
        key: value for key, value in saved.items() if key[0] != "_"
    }
    assert SchedulerConfig.from_json(config.to_json()) == config
