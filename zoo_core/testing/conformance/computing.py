"""Computing: device, dtype and no network."""

from __future__ import annotations

from unittest import mock

import torch

from zoo_core.environment import load
from zoo_core.errors import PluginError
from zoo_core.running.loading import DTYPES
from zoo_core.testing.conformance.check import check
from zoo_core.testing.conformance.running import any_number_of_samples_can_be_generated
from zoo_core.testing.conformance.seeds import global_random_state_is_not_used
from zoo_core.testing.conformance.subject import SEEDS, ModelSubject
from zoo_core.testing.monitors import DevicesUsed, no_network
from zoo_core.testing.validation import difference, require_alike


@check(
    "Read files from the checkpoint only; zoo pull downloads every file that the card names.",
    needs=(any_number_of_samples_can_be_generated,),
)
def downloaded_weights_need_no_network(subject: ModelSubject) -> None:
    """After its weights are downloaded, a model loads and runs with ``HF_HUB_OFFLINE=1``.

    Cluster nodes often have no network, and a remote answer may be different tomorrow.
    """
    with no_network() as attempts:
        subject.runner(load(subject.card, device="cpu")).rows((0,))
    assert not attempts, f"The model tried to connect to {', '.join(attempts)}."


@check(
    "Compute in the dtype that zoo_create_generator gets, set the generator's dtype to it, and "
    "refuse an unsupported dtype with an OptionError.",
    needs=(global_random_state_is_not_used,),
)
def the_reported_dtype_is_used(subject: ModelSubject) -> None:
    """The requested dtype is used or refused, and the generator's ``dtype`` names the dtype of the
    computation.

    It is recorded with every sample, because another dtype gives another sample.
    """
    name = subject.run.model.dtype
    assert name in DTYPES, f"The generator's dtype is {name}, not one of {', '.join(DTYPES)}."
    models = {attempt.what: attempt.model for attempt in subject.dtypes_tried if attempt.model}
    assert name in models, f"The model uses {name} by default, but refuses it when requested."
    for dtype, model in models.items():
        assert model.dtype == dtype, f"The requested dtype is {dtype}, but it reports {model.dtype}."
    made = {dtype: subject.runner(model).rows(SEEDS) for dtype, model in models.items()}
    require_alike(made[name], subject.rows, f"The batch with {name} requested, not chosen by default,")
    if "bfloat16" not in made or "float32" not in made or subject.card.output != "image":
        return
    same = "The generator reports bfloat16, but computes the same as in float32."
    if subject.card.family != "autoregressive":
        assert max(map(difference, made["bfloat16"], made["float32"])) > 0, same
    elif "score" in subject.card.capabilities:
        # So small a difference does not change sampled tokens, but it changes their likelihood.
        rows = subject.scored
        coarse, fine = (subject.score(rows, (5, 6), models[t]).nats for t in ("bfloat16", "float32"))
        assert not torch.equal(coarse, fine), same


@check(
    "Put the network and every tensor on the device that zoo_create_generator gets; choose none yourself.",
    needs=(global_random_state_is_not_used,),
)
def the_given_device_is_used(subject: ModelSubject) -> None:
    """On the CPU, nothing is computed elsewhere, even if there is CUDA; on an accelerator, the accelerator is
    used.

    ``--device cpu`` is for when someone else is using the accelerator, ``--device cuda:1`` for when the first
    one is busy. On a machine without CUDA, the check pretends that there is CUDA: a model that then uses it
    chooses its own device.
    """
    used = _used(subject, "cpu", pretend=not torch.cuda.is_available())
    assert used <= {"cpu", "meta"}, f"Told to use the CPU, the model uses {', '.join(sorted(used))}."
    for kind in ("cuda", "mps"):
        if getattr(torch, kind).is_available():
            used = _used(subject, kind)
            assert kind in used, f"Told to use {kind}, the model uses {', '.join(sorted(used))}."


def _used(subject: ModelSubject, device: str, *, pretend: bool = False) -> set[str]:
    """Return the kinds of device that are used when the model is loaded for one and run."""
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
            raise AssertionError(f"Told to use the CPU, the model tries CUDA: {cause}") from error
    return set(devices.kinds)
