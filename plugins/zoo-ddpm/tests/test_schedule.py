"""Noise schedules, timestep lists and scheduler configs against published tables and diffusers."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields

import diffusers
import pytest
import torch
from zoo_ddpm.diffusers_schedulers import CLASSES
from zoo_ddpm.sampling import sampler_steps
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SPACINGS, timesteps

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
        ({"_class_name": []}, "_class_name is [], whose noise process zoo-ddpm does not have."),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "_class_name is 'FlowMatchEulerDiscreteS"),
        ({"_class_name": "IPNDMScheduler"}, "_class_name is 'IPNDMScheduler'"),  # β = sin²
        ({"beta_schedule": "laplace"}, "beta_schedule is 'laplace'; expected one of linear, scaled_linear"),
        ({"beta_schedule": {}}, "beta_schedule is {}; expected one of linear"),
        ({"prediction_type": "flow"}, "prediction_type is 'flow'; expected one of epsilon"),
        (
            {"num_train_timesteps": "1000"},
            "num_train_timesteps is '1000'; expected an integer from 1 to 100,000",
        ),
        ({"num_train_timesteps": 0}, "num_train_timesteps is 0; expected an integer from 1"),
        ({"num_train_timesteps": -5}, "num_train_timesteps is -5; expected an integer from 1"),
        ({"num_train_timesteps": 10**9}, "num_train_timesteps is 1000000000; expected an integer from 1"),
        ({"beta_start": -0.1}, "beta_start is -0.1; expected a number from 0 to 1"),
        ({"beta_start": 10**400}, "beta_start is 1000000"),
        ({"beta_start": 0.0}, "the betas run from 0 to 0.02; expected above 0 and up to 1."),
        ({"beta_end": 1.5}, "beta_end is 1.5; expected a number from 0 to 1"),
        ({"trained_betas": [0.1]}, "trained_betas has 1 values; expected 1,000."),
        ({"trained_betas": "no"}, "trained_betas is 'no'; expected a list"),
        ({"trained_betas": [None] * 1000}, "trained_betas is [None, None"),
        ({"steps_offset": -5}, "steps_offset is -5; expected an integer from 0"),
        ({"clip_sample": 1}, "clip_sample is 1; expected true or false"),
        ({"clip_sample_range": float("nan")}, "clip_sample_range is nan; expected a number from 1e-08"),
        ({"dynamic_thresholding_ratio": 7}, "dynamic_thresholding_ratio is 7; expected a number from 0 to 1"),
        ({"rescale_betas_zero_snr": True}, "the last timestep is pure noise, and prediction_type is epsilon"),
        ({"num_train_timesteps": 1, "rescale_betas_zero_snr": True}, "the betas run from nan to nan"),
        ({"timestep_value": [1, 2]}, "unknown setting 'timestep_value'"),
        ({"sampler": "ddim"}, "unknown setting 'sampler' of DDPMScheduler."),
        ({"predict_epsilon": "x"}, "predict_epsilon is 'x'; expected true or false"),
        (
            {"_class_name": "PNDMScheduler", "prediction_typ": "sample"},
            "unknown setting 'prediction_typ'; did you mean 'prediction_type'?",
        ),
        (
            {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True},
            "use_flow_sigmas is True; expected one of False",
        ),
        (
            {"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"},
            "timestep_type is 'continuous'; expected one of discrete",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_a_scheduler_config_asks_for_and_we_lack_is_refused_by_name(options, message):
    with pytest.raises(WeightsError) as caught:
        SchedulerConfig.from_json(options, "somewhere: scheduler_config.json")

    assert caught.value.message.startswith(f"somewhere: scheduler_config.json: {message}")
    assert len(caught.value.message) < 250
    assert caught.value.remedy


@pytest.mark.parametrize(("predict_epsilon", "prediction"), [(True, "epsilon"), (False, "sample")])
def test_a_config_of_2022_is_read(predict_epsilon, prediction):
    old = {"tensor_format": "pt", "timestep_values": None, "predict_epsilon": predict_epsilon}
    assert SchedulerConfig.from_json(old).prediction_type == prediction


DPM, UNIPC = "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"


@pytest.mark.parametrize(
    ("name", "options", "sampler", "solver", "spacing", "exact"),
    [
        ("DDIMScheduler", {}, "ddim", {}, None, True),
        ("PNDMScheduler", {"skip_prk_steps": True}, "pndm", {}, None, True),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True}, "euler", {}, "karras", True),
        ("EulerDiscreteScheduler", {"interpolation_type": "log_linear"}, "euler", {}, "exponential", True),
        (DPM, {"solver_order": 2}, "dpmpp-2m", {}, None, True),
        (DPM, {"euler_at_final": True}, "dpmpp-2m", {}, None, True),
        (
            DPM,
            {"euler_at_final": True, "final_sigmas_type": "sigma_min"},
            "dpmpp-3m",
            {"order": 2, "solver_type": "midpoint", "algorithm": "dpmsolver++"},
            None,
            True,
        ),
        (
            DPM,
            {"solver_order": 3, "algorithm_type": "dpmsolver"},
            "dpmpp-3m",
            {"order": 3, "solver_type": "midpoint", "algorithm": "dpmsolver"},
            None,
            True,
        ),
        (
            DPM,
            {"algorithm_type": "sde-dpmsolver++", "use_beta_sigmas": True},
            "dpmpp-2m-sde",
            {"order": 2, "solver_type": "midpoint"},
            "beta",
            True,
        ),
        (
            DPM,
            {"algorithm_type": "sde-dpmsolver", "use_lu_lambdas": True},
            "dpmpp-2m-sde",
            {"order": 2, "solver_type": "midpoint"},
            "exponential",
            False,
        ),
        (
            UNIPC,
            {"solver_order": 3, "solver_type": "bh1", "disable_corrector": [0]},
            "unipc",
            {"order": 3, "solver_type": "bh1", "predict_x0": True, "disable_corrector": (0,)},
            None,
            True,
        ),
        ("DEISMultistepScheduler", {"solver_order": 2}, "ddim", {}, None, False),
        ("LCMScheduler", {"original_inference_steps": 25}, "lcm", {}, None, True),
    ],
)
def test_a_scheduler_class_and_its_options_are_mapped_to_a_sampler(
    name, options, sampler, solver, spacing, exact
):
    config = SchedulerConfig.from_json({"_class_name": name, "beta_schedule": "scaled_linear", **options})

    assert (config.sampler, config.solver, config.timestep_spacing) == (sampler, solver, spacing)
    assert config.replaced == (None if exact else name)
    assert config.beta_schedule == "scaled_linear"


@pytest.mark.parametrize("name", sorted(CLASSES))
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
    if config.preconditioning == "score":  # images in [0, 1] there, in [-1, 1] here
        theirs |= {key: 2 * theirs[key] for key in ("sigma_min", "sigma_max")}
    assert {key: getattr(config, key) for key in theirs.keys() & known - ours} == {
        key: theirs[key] for key in theirs.keys() & known - ours
    }
    assert config.clip_sample == theirs.get("clip_sample", theirs.get("clip_denoised", False))


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

    assert config.sampler == CLASSES[type(scheduler).__name__].sampler
    assert {key: again[key] for key in saved if key[0] != "_"} == {
        key: value for key, value in saved.items() if key[0] != "_"
    }
    assert SchedulerConfig.from_json(config.to_json()) == config
