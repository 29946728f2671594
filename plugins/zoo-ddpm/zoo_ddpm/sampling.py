"""How to sample: a sampler, its steps along a noise schedule, its options. Public, for other plugins too.

:func:`plan_sampling` makes a :class:`SamplingPlan` of a scheduler config and what a user asks for;
:meth:`SamplingPlan.run` runs it with any network, which :func:`predictor` wraps::

    plan = plan_sampling(SchedulerConfig.from_json(...), sampler="heun", steps=20)
    predict = predictor(network, plan.config)
    for x, x_0 in plan.run(predict, noise.normal(4, 64, 64), noise):
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from zoo_core import Noise, OptionError
from zoo_ddpm import prediction
from zoo_ddpm.flow import SCHEDULER, FlowConfig, flow_predictor
from zoo_ddpm.preconditioning import Network
from zoo_ddpm.prediction import LabelledNetwork, Prediction, Predictor, guided, labelled, rescaled, target
from zoo_ddpm.samplers import SAMPLERS, BrownianNoise, OwnSampler, Sampler, Trajectory, own_sampler
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.sigmas import SIGMA_SPACINGS
from zoo_ddpm.timesteps import SamplerStep, distilled_timesteps, fractional_timesteps, timesteps

__all__ = [
    "SAMPLERS", "SIGMA_SPACINGS", "FlowConfig", "LabelledNetwork", "Network", "OwnSampler", "Prediction",
    "Predictor", "Sampler", "SamplerStep", "SamplingPlan", "Schedule", "SchedulerConfig", "Trajectory",
    "guided", "labelled", "plan_sampling", "predictor", "read_schedule", "rescaled", "sampler_steps",
    "target",
]  # fmt: skip

Schedule = SchedulerConfig | FlowConfig
"""What a model was trained with: a noise schedule, or a flow."""


def read_schedule(config: Mapping[str, Any], source: str = "scheduler_config.json") -> Schedule:
    """Read a parsed ``scheduler_config.json``; WeightsError names an option that is not supported."""
    kind = FlowConfig if config.get("_class_name") == SCHEDULER else SchedulerConfig
    return kind.from_json(config, source)


def predictor(network: Network, config: Schedule, use_clipped_model_output: bool = False) -> Predictor:
    """Return a function that turns the network's output into predictions.

    Of a flow the output is the velocity; else see :func:`zoo_ddpm.prediction.predictor`.
    """
    if isinstance(config, FlowConfig):
        return flow_predictor(network, config)
    return prediction.predictor(network, config, use_clipped_model_output)


@dataclass(frozen=True)
class SamplingPlan:
    """A sampler with its options bound, and its steps."""

    config: Schedule
    """The schedule the model was trained with."""
    sampler: Sampler
    steps: Sequence[SamplerStep]
    options: Mapping[str, Any]
    """Arguments of the sampler's function."""

    def run(self, predict: Predictor, x: Tensor, noise: Noise) -> Trajectory:
        """Sample: yield (x after the step, its x_0 prediction) at each step; the last x is the sample.

        Args:
            predict: The wrapped network.
            x: x_t (n, c, h, w) at the first step; standard normal if it is the noisiest. One sample, if the
                sampler is ``alone``.
            noise: The samples' streams, for samplers that draw noise.
        """
        shape = x.shape[1:]
        draw: Callable[..., Tensor]
        if self.sampler.brownian:
            low, high = self.config.sigma_range()
            path = BrownianNoise(noise, tuple(shape), high, low)
            draw = lambda sigma, sigma_next: path(sigma, sigma_next).to(x)  # noqa: E731
        else:
            draw = lambda *_: noise.normal(*shape).to(x)  # noqa: E731
        further = (self.config.time_of,) if self.sampler.in_sigma else ()
        return self.sampler.run(predict, x, self.steps, draw, *further, **self.options)


def plan_sampling(
    config: Schedule,
    sampler: str | OwnSampler | None = None,
    steps: int | None = None,
    spacing: str | None = None,
    sigmas: Sequence[float] | None = None,
    **options: Any,
) -> SamplingPlan:
    """Plan how to sample a model.

    Args:
        config: The schedule the model was trained with, which decides what is None.
        sampler: A name in ``SAMPLERS``, or a function.
        steps: Number of steps.
        spacing: A spacing of timesteps or of noise levels.
        sigmas: The noise levels themselves, descending, instead of ``steps`` and ``spacing``.
        options: Further options by name (``eta``, ``order``); None counts as not given.

    Raises:
        OptionError: The options contradict each other, or the schedule has no such timesteps.
    """
    name = sampler if isinstance(sampler, str) else config.sampler if sampler is None else "of yours"
    row = own_sampler(sampler) if callable(sampler) else SAMPLERS[name]
    given = {key: value for key, value in options.items() if value is not None}
    for key, value in given.items():
        _check_option(name, row, key, value)
    if row.alone and (steps or sigmas or spacing):
        raise OptionError(
            f"--sampler {name} chooses its steps itself.",
            "Leave out --steps, --spacing and --sigmas; give --tolerance.",
        )
    T = config.num_train_timesteps
    if row.layout == "distilled":
        if isinstance(config, FlowConfig):
            raise OptionError(f"--sampler {name} is not for flows.", "Use another --sampler, such as euler.")
        T = config.original_inference_steps
    count = steps or min(row.steps or T, T)
    return SamplingPlan(
        config=config,
        sampler=row,
        steps=_steps(config, name, row, count, spacing, sigmas),
        options={
            **{argument: getattr(config, field) for argument, field in row.settings.items()},
            **(config.solver if name == config.sampler else {}),
            **given,
        },
    )


def _check_option(sampler: str, chosen: Sampler, key: str, value: Any) -> None:
    flag = f"--{key.replace('_', '-')}"
    if key not in chosen.options:
        takes = [name for name, row in SAMPLERS.items() if key in row.options]
        raise OptionError(
            f"{flag} is an option of {', '.join(takes)}, not of the sampler {sampler}.",
            f"Add --sampler {takes[0]}, or leave out {flag}.",
        )
    values = chosen.options[key]
    if values is not None and value not in values:
        raise OptionError(
            f"{flag} {value} is not an option of the sampler {sampler}.",
            f"Give {flag} {' or '.join(map(str, values))}.",
        )


def sampler_steps(
    config: Schedule,
    sampler: str,
    steps: int,
    spacing: str | None = None,
    sigmas: Sequence[float] | None = None,
) -> list[SamplerStep]:
    """Return the steps of a sampler, from the noisiest to the last, each ending where the next begins.

    (diffusers' DDIM computes the end of a step as t − T // n instead, which is not the next timestep in
    ``linspace`` spacing, nor in ``trailing`` spacing where n does not divide T.)

    Args:
        config: The schedule the model was trained with.
        sampler: A name in ``SAMPLERS``.
        steps: Number of steps, from 1 to T.
        spacing: A spacing of timesteps or of noise levels; None: the config's, or the sampler's own.
        sigmas: The noise levels themselves, descending, instead of ``steps`` and ``spacing``.

    Raises:
        OptionError: The schedule has no such timesteps.
    """
    return _steps(config, sampler, SAMPLERS[sampler], steps, spacing, sigmas)


def _steps(
    config: Schedule,
    sampler: str,
    row: Sampler,
    steps: int,
    spacing: str | None,
    sigmas: Sequence[float] | None,
) -> list[SamplerStep]:
    if isinstance(config, FlowConfig):
        return _flow_steps(config, steps, spacing, sigmas)
    alphas_bar = config.alphas_bar().tolist()
    to_data = row.end == "clean" or getattr(config, row.end) in (True, "zero")
    end = 1.0 if to_data else alphas_bar[0]
    if sigmas is not None:
        return _along_sigmas(config, row, _checked_sigmas(config, sigmas), end)
    T = config.num_train_timesteps
    if not 1 <= steps <= T:
        raise OptionError(f"--steps {steps}: the model has {T} timesteps.", f"Give --steps from 1 to {T}.")
    ts: Sequence[float]
    if row.layout == "distilled":
        ts = _distilled(config, sampler, steps, spacing)
    elif row.layout == "ends":
        ts = [T - 1, 0]
    else:
        spacing = spacing or config.timestep_spacing or row.spacing
        if spacing in SIGMA_SPACINGS:
            low, high = config.sigma_range()
            low, high = config.sigma_min or low, config.sigma_max or high
            # The lowest level is the end of the last step, unless clean data are.
            rho = {"rho": config.rho} if spacing == "karras" else {}
            levels = SIGMA_SPACINGS[spacing](steps + (end < 1), low, high, **rho)
            return _along_sigmas(config, row, levels, end)[:steps]
        if row.layout == "fractional":
            ts = fractional_timesteps(spacing, steps, T, config.steps_offset)
        else:
            ts = timesteps(spacing, steps, T, config.steps_offset, row.layout == "beyond-last")
        repeats = any(t <= s for t, s in pairwise(ts))
        if max(ts) >= T or (repeats and (row.in_sigma or row.layout == "beyond-last")):
            raise OptionError(
                f"{steps} steps of {spacing} spacing do not fit into {T} timesteps with {sampler}.",
                "Give fewer --steps, or another --spacing.",
            )
    here = [alphas_bar[int(t)] if t == int(t) else 1 / (1 + config.sigma_at(t) ** 2) for t in ts]
    return [SamplerStep(*step) for step in zip(ts, here, [*here[1:], end], strict=True)]


def _flow_steps(
    config: FlowConfig, steps: int, spacing: str | None, sigmas: Sequence[float] | None
) -> list[SamplerStep]:
    if spacing is not None or sigmas is not None:
        flag = "--sigmas" if spacing is None else "--spacing"
        raise OptionError(
            f"{flag} is not for flows: this model's file lays out the steps.", f"Leave out {flag}."
        )
    if steps > config.num_train_timesteps:
        raise OptionError(
            f"--steps {steps}: the model has {config.num_train_timesteps} timesteps.",
            f"Give --steps from 1 to {config.num_train_timesteps}.",
        )
    return config.steps(steps)


def _along_sigmas(
    config: SchedulerConfig, row: Sampler, sigmas: Sequence[float], end: float
) -> list[SamplerStep]:
    """Return the steps between noise levels; the last leads to ``end``, an ᾱ, or is at its level already."""
    times = [config.time_of(sigma) for sigma in sigmas if sigma > 0]
    if row.layout != "fractional":  # a sampler that was published for the timesteps of training
        times = [float(round(t)) for t in times]
    alphas_bar = [1 / (1 + sigma**2) for sigma in sigmas]
    ends = alphas_bar[1:] if sigmas[-1] == 0 else [*alphas_bar[1:], max(end, alphas_bar[-1])]
    return [SamplerStep(*step) for step in zip(times, alphas_bar, ends, strict=False)]


def _checked_sigmas(config: SchedulerConfig, sigmas: Sequence[float]) -> Sequence[float]:
    high = config.sigma_range()[1]
    descending = all(a > b for a, b in pairwise(sigmas))
    if not sigmas or not descending or not 0 < sigmas[0] <= 1.01 * high or sigmas[-1] < 0:
        raise OptionError(
            f"--sigmas {','.join(f'{sigma:g}' for sigma in sigmas)}: no noise levels of this model.",
            f"Give numbers that descend from at most {high:.6g}, such as 10,3,1,0.3,0.1.",
        )
    return sigmas


def _distilled(config: SchedulerConfig, sampler: str, steps: int, spacing: str | None) -> list[int]:
    grid = config.original_inference_steps
    if spacing:
        raise OptionError(f"--spacing is not an option of the sampler {sampler}.", "Leave out --spacing.")
    if steps > grid:
        raise OptionError(
            f"--steps {steps}: the model was distilled at {grid} timesteps.",
            f"Give --steps from 1 to {grid}.",
        )
    return distilled_timesteps(steps, config.num_train_timesteps, grid)
