"""Where and in what it computes: the device, the type, without a network."""

from __future__ import annotations

from unittest import mock

import torch

from zoo_core.environment import load
from zoo_core.errors import PluginError
from zoo_core.running.loading import DTYPES
from zoo_core.testing.conformance.check import check
from zoo_core.testing.conformance.running import any_number_of_samples_can_be_made
from zoo_core.testing.conformance.seeds import global_random_state_is_not_used
from zoo_core.testing.conformance.subject import SEEDS, Subject
from zoo_core.testing.soundness import difference, require_alike
from zoo_core.testing.watching import DevicesUsed, no_network


@check(
    "Ask nothing of a network: the checkpoint holds all files, and zoo pull fetches what a card names.",
    needs=(any_number_of_samples_can_be_made,),
)
def weights_that_are_here_need_no_network(subject: Subject) -> None:
    """Once its weights are on this machine, a model is loaded and run with ``HF_HUB_OFFLINE=1``.

    Trains, clusters and museums have no network; and what is asked of one may be answered otherwise tomorrow.
    """
    with no_network() as attempts:
        subject.runner(load(subject.card, device="cpu")).rows((0,))
    assert not attempts, f"The network was asked for {', '.join(attempts)}."


@check(
    "Compute in the dtype that zoo_create_generator is given, name it as the generator's dtype, and refuse "
    "what the model cannot compute in with an OptionError.",
    needs=(global_random_state_is_not_used,),
)
def the_dtype_it_names_is_the_one_it_computes_in(subject: Subject) -> None:
    """``dtype`` is a torch type; the one asked for is honoured or refused, and says what is computed.

    It is recorded with every sample, for in another type the sample is another one.
    """
    name = subject.run.model.dtype
    assert name in DTYPES, f"The generator's dtype is {name}, not one of {', '.join(DTYPES)}."
    models = {attempt.what: attempt.model for attempt in subject.dtypes_tried if attempt.model}
    assert name in models, f"It chooses {name} by itself, and refuses it when asked for it."
    for asked, model in models.items():
        assert model.dtype == asked, f"Asked for {asked}, the generator says {model.dtype}."
    made = {asked: subject.runner(model).rows(SEEDS) for asked, model in models.items()}
    require_alike(made[name], subject.rows, f"The batch made in {name} as asked, not as chosen,")
    if "bfloat16" not in made or "float32" not in made or subject.card.output != "image":
        return
    same = "Asked for bfloat16, it says so, and computes what it computes in float32."
    if subject.card.family != "autoregressive":
        assert max(map(difference, made["bfloat16"], made["float32"])) > 0, same
    elif "score" in subject.card.capabilities:
        # Tokens that are drawn do not show so small a difference; how likely they are does.
        rows = subject.scored
        coarse, fine = (subject.score(rows, (5, 6), models[t]).nats for t in ("bfloat16", "float32"))
        assert not torch.equal(coarse, fine), same


@check(
    "Put the network and every tensor on the device that zoo_create_generator is given; choose none.",
    needs=(global_random_state_is_not_used,),
)
def the_device_it_is_given_is_the_one_it_uses(subject: Subject) -> None:
    """On the CPU nothing is computed elsewhere, not even where there is CUDA; on each accelerator it is used.

    ``--device cpu`` is for when the accelerator is somebody else's, ``--device cuda:1`` for when the first
    one is. A machine without CUDA is made to say that it has it: a model that then reaches for it chooses by
    itself.
    """
    used = _used(subject, "cpu", pretend=not torch.cuda.is_available())
    assert used <= {"cpu", "meta"}, f"Told to compute on the CPU, it computes on {', '.join(sorted(used))}."
    for kind in ("cuda", "mps"):
        if getattr(torch, kind).is_available():
            used = _used(subject, kind)
            assert kind in used, f"Told to compute on {kind}, it computes on {', '.join(sorted(used))}."


def _used(subject: Subject, device: str, *, pretend: bool = False) -> set[str]:
    """The kinds of device that are used when it is loaded for one and run."""
    with (
        DevicesUsed() as devices,
        mock.patch("torch.cuda.is_available", return_value=pretend or torch.cuda.is_available()),
    ):
        try:
            subject.runner(load(subject.card, device=device)).last(SEEDS)
        except Exception as error:
            if not pretend:
                raise
            cause = error.__cause__ if isinstance(error, PluginError) and error.__cause__ else error
            raise AssertionError(f"Told to compute on the CPU, it reaches for CUDA: {cause}") from error
    return set(devices.kinds)
