"""Capabilities: what the card claims is there, and what is there agrees with itself."""

from __future__ import annotations

import math

import torch

from zoo_core.protocols import PROTOCOLS, Latents, NextToken, Prediction, Scorer
from zoo_core.testing.conformance.check import Unclaimed, check
from zoo_core.testing.conformance.loading import the_model_can_be_loaded
from zoo_core.testing.conformance.running import any_number_of_samples_can_be_made
from zoo_core.testing.conformance.seeds import global_random_state_is_not_used
from zoo_core.testing.conformance.subject import SEEDS, Subject
from zoo_core.testing.driving import Row
from zoo_core.testing.soundness import require_alike

SCORE_TOLERANCE = 1e-4
"""How far two scores of an item may differ, relative."""
NATS = 0.01
"""How far two ways to the probability of a token may differ: types of 16 bits round."""
SMALL_VOCABULARY = 512
"""All tokens of one are tried, of a larger one the likeliest."""
LIKELIEST = 16
LEADING = 24
"""Characters of a sample that make a prompt to predict from."""


@check(
    "Give the generator the methods of the protocol in zoo_core.protocols, or leave the capability out.",
    needs=(the_model_can_be_loaded,),
)
def abilities_that_are_claimed_are_there(subject: Subject) -> None:
    """Whatever capability the card names, the generator has its protocol's methods.

    Commands such as ``zoo score`` go by the card.
    """
    missing = [
        name for name in subject.card.capabilities if not isinstance(subject.generator, PROTOCOLS[name])
    ]
    assert not missing, (
        f"The card of {subject.card.id} names what its generator cannot do: {', '.join(missing)}."
    )


@check("Name the capability under capabilities in the manifest.", needs=(the_model_can_be_loaded,))
def abilities_that_are_there_are_claimed(subject: Subject) -> None:
    """Whatever capability the generator has, the card names.

    What is not named nobody finds.
    """
    unnamed = [
        name
        for name, protocol in PROTOCOLS.items()
        if isinstance(subject.generator, protocol) and name not in subject.card.capabilities
    ]
    assert not unnamed, f"The card of {subject.card.id} does not name what it can do: {', '.join(unnamed)}."


@check(
    "Return a Score of float64 nats, one per item, and the size that its rate is taken over.",
    needs=(any_number_of_samples_can_be_made,),
)
def scores_are_finite(subject: Subject) -> None:
    """A score is one finite float64 per item, in nats, with the size that a rate is taken over.

    Bits per dimension and perplexity are computed from the two; sums over long texts lose digits in float32.
    """
    scores = subject.scores
    assert scores.nats.shape == scores.size.shape == (2,), "There is not one score and one size per item."
    assert scores.nats.dtype == torch.float64, f"Scores are {scores.nats.dtype}, not float64."
    assert torch.isfinite(scores.nats).all(), f"Scores are not finite: {scores.nats.tolist()}."
    assert (scores.size > 0).all(), f"A rate cannot be taken over {scores.size.tolist()}."


@check("Score each item by itself, with its own row of noise.", needs=(scores_are_finite,))
def a_score_is_the_same_in_any_batch(subject: Subject) -> None:
    """A score belongs to an item and its noise stream alone.

    A file of texts is scored in batches, whose size follows from the memory of the machine.
    """
    scores = subject.scores
    alone = subject.score(subject.scored[1:], (6,)).nats
    assert torch.allclose(alone, scores.nats[1:], rtol=SCORE_TOLERANCE, atol=0), (
        f"An item scored {alone.item()} nats alone, {scores.nats[1].item()} nats in a batch of two."
    )


@check(
    "Normalise: log p is a log_softmax, of images the mass of 8-bit levels and not a density.",
    needs=(scores_are_finite,),
)
def scores_are_probabilities(subject: Subject) -> None:
    """The probabilities of different items do not add up to more than one.

    Images in 8 bits and texts can be counted, so their likelihoods are probabilities, and a bound lies
    below them. A density or a sum of logits is neither, and compares with no published figure.
    """
    nats = subject.scores.nats
    total = nats.exp().sum().item() if _differ(*subject.scored) else nats.exp().max().item()
    assert total <= 1 + SCORE_TOLERANCE, (
        f"Items with {nats.tolist()} nats have the probability {total:g} together."
    )


@check(
    "Take log_probabilities from a log_softmax over the whole vocabulary, before any option cuts it.",
    needs=(any_number_of_samples_can_be_made,),
)
def the_next_token_is_certain_to_come(subject: Subject) -> None:
    """The probabilities of all tokens that may come next add up to one, and ``top`` names the likeliest.

    What is missing from one has gone to tokens that cannot come.
    """
    prediction = _predict(subject, _prompt(subject))
    log_p = prediction.log_probabilities
    assert log_p.ndim == 1, f"log_probabilities has the shape {tuple(log_p.shape)}, not (vocabulary,)."
    total = log_p.double().exp().sum().item()
    assert abs(total - 1) <= 1e-3, f"The probabilities of the next token add up to {total:g}."
    top = prediction.top(3)
    best = log_p.double().exp().topk(min(3, len(log_p))).values.tolist()
    assert all(math.isclose(p, q, rel_tol=1e-3) for (_, _, p), q in zip(top, best, strict=True)), (
        f"top names the probabilities {[p for _, _, p in top]}, where {best} are the largest."
    )


@check(
    "Let next_token and log_likelihood run the same network over the same tokens.",
    needs=(the_next_token_is_certain_to_come, scores_are_finite),
)
def the_next_token_agrees_with_the_score(subject: Subject) -> None:
    """p(text and token) is p(text) times the probability of the token, summed over a small vocabulary too.

    The two are the same question. ``zoo next`` and ``zoo score`` would tell two models otherwise.
    """
    subject.require_ability("score", Scorer)
    prompt = _prompt(subject)
    prediction = _predict(subject, prompt)
    vocabulary = len(prediction.log_probabilities)
    begun = subject.score([prompt], (0,)).nats.item()
    expected = found = 0.0
    for token, text, p in prediction.top(vocabulary if vocabulary <= SMALL_VOCABULARY else LIKELIEST):
        # A longer text may be cut into other tokens, and says then nothing about this one.
        if not text or _predict(subject, prompt + text).tokens != (*prediction.tokens, token):
            continue
        ratio = subject.score([prompt + text], (0,)).nats.item() - begun
        assert p < 1e-6 or abs(ratio - math.log(p)) <= NATS, (
            f"After {prompt!r}, {text!r} has the probability {p:.4g} by next_token, {math.exp(ratio):.4g} by "
            "the scores."
        )
        expected, found = expected + p, found + math.exp(ratio)
    assert abs(found - expected) <= NATS, (
        f"After {prompt!r}, tokens of the probability {expected:.4g} have {found:.4g} by their scores."
    )


@check(
    "Build generate() of the two: synthesize(encode(batch), batch.options, batch.noise).",
    needs=(global_random_state_is_not_used,),
)
def latents_make_the_same_images(subject: Subject) -> None:
    """What is drawn at the places of a batch's samples is what ``generate`` makes of the batch.

    Whoever walks from sample to sample, mixes two or edits one begins at what he has seen.
    """
    subject.require_ability("latents", Latents)
    generator = subject.generator
    assert isinstance(generator, Latents)
    batch = subject.batch()
    with torch.inference_mode():
        places = generator.encode(batch)
        assert len(places) == len(SEEDS), f"{len(SEEDS)} samples have {len(places)} places."
        images = generator.synthesize(places, batch.options, batch.noise)
    require_alike(list(images.float().cpu()), subject.rows, "What is drawn at the places of a batch")


def _prompt(subject: Subject) -> str:
    """A text to predict from: the suite's prompt, else the beginning of a sample."""
    subject.require_ability("next-token", NextToken)
    if subject.run.prompt:
        return subject.run.prompt
    return next((str(row)[:LEADING] for row in subject.wide if row), "a")


def _predict(subject: Subject, prompt: str) -> Prediction:
    generator = subject.generator
    if not isinstance(generator, NextToken):
        raise Unclaimed(f"{subject.card.id} has no capability next-token")
    with torch.inference_mode():
        return generator.next_token(prompt)


def _differ(one: Row, other: Row) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return not torch.equal((127.5 * (one + 1)).round(), (127.5 * (other + 1)).round())
    return one != other
