"""Capabilities: the declared ones exist, and their results agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from zoo_core.protocols import (
    PROTOCOLS,
    Autoencoder,
    Chat,
    Editor,
    Embedder,
    Latents,
    Message,
    NextToken,
    Prediction,
    Scorer,
)
from zoo_core.samples.images import to_bytes, to_image
from zoo_core.testing.conformance.check import NotApplicable, check
from zoo_core.testing.conformance.loading import the_model_loads
from zoo_core.testing.conformance.running import any_number_of_samples_can_be_generated
from zoo_core.testing.conformance.seeds import global_random_state_is_not_used
from zoo_core.testing.conformance.subject import SEEDS, ModelSubject
from zoo_core.testing.runner import Row, rows_of
from zoo_core.testing.validation import require_alike

SCORE_TOLERANCE = 1e-4
"""Allowed relative difference of two scores of an item."""
NATS = 0.01
"""Allowed difference of two log probabilities of a token: 16-bit dtypes round."""
SMALL_VOCABULARY = 512
"""Every token of a vocabulary up to this size is tried; of a larger one, the LIKELIEST."""
LIKELIEST = 16
LEADING = 24
"""Length of a prompt that is cut from a sample."""


@check(
    "Implement the methods of the protocol in zoo_core.protocols, or do not declare the capability.",
    needs=(the_model_loads,),
)
def declared_capabilities_are_implemented(subject: ModelSubject) -> None:
    """The generator implements the protocol of every capability that the card declares.

    Commands such as ``zoo score`` rely on the card.
    """
    missing = [
        name for name in subject.card.capabilities if not isinstance(subject.generator, PROTOCOLS[name])
    ]
    assert not missing, (
        f"The card of {subject.card.id} declares capabilities that its generator lacks: {', '.join(missing)}."
    )


@check("Add the capability to capabilities in the manifest.", needs=(the_model_loads,))
def implemented_capabilities_are_declared(subject: ModelSubject) -> None:
    """The card declares every capability that the generator implements.

    Users cannot find a capability that is not declared.
    """
    unnamed = [
        name
        for name, protocol in PROTOCOLS.items()
        if isinstance(subject.generator, protocol) and name not in subject.card.capabilities
    ]
    assert not unnamed, f"The card of {subject.card.id} does not declare: {', '.join(unnamed)}."


@check(
    "Return a Score with one float64 value in nats per item, and the size that a rate is computed over.",
    needs=(any_number_of_samples_can_be_generated,),
)
def scores_are_finite(subject: ModelSubject) -> None:
    """A score is one finite float64 per item, in nats, together with the size that a rate is computed over.

    Bits per dimension and perplexity are computed from the two; sums over long texts lose precision in
    float32.
    """
    scores = subject.scores
    assert scores.nats.shape == scores.size.shape == (2,), "There must be one score and one size per item."
    assert scores.nats.dtype == torch.float64, f"Scores are {scores.nats.dtype}, not float64."
    assert torch.isfinite(scores.nats).all(), f"Scores are not finite: {scores.nats.tolist()}."
    assert (scores.size > 0).all(), f"Sizes must be positive, not {scores.size.tolist()}."


@check("Score each item on its own, with its own row of noise.", needs=(scores_are_finite,))
def a_score_does_not_depend_on_its_batch(subject: ModelSubject) -> None:
    """A score depends only on the item and its noise stream.

    A file of texts is scored in batches, whose size depends on the memory of the machine.
    """
    scores = subject.scores
    alone = subject.score(subject.scored[1:], (6,)).nats
    assert torch.allclose(alone, scores.nats[1:], rtol=SCORE_TOLERANCE, atol=0), (
        f"An item scored {alone.item()} nats alone, {scores.nats[1].item()} nats in a batch of two."
    )


@check(
    "Normalise: use log_softmax for log p; for images, return the probability of 8-bit levels, "
    "not a density.",
    needs=(scores_are_finite,),
)
def scores_are_probabilities(subject: ModelSubject) -> None:
    """The probabilities of different items do not sum to more than one.

    Images in 8 bits and texts are discrete, so their likelihoods are probabilities, and a bound is below
    them. A density or a sum of logits cannot be compared with published numbers.
    """
    nats = subject.scores.nats
    if subject.card.output not in ("image", "text"):
        raise NotApplicable(f"{subject.card.output} samples are continuous: their scores are densities")
    total = nats.exp().sum().item() if _differ(*subject.scored) else nats.exp().max().item()
    assert total <= 1 + SCORE_TOLERANCE, (
        f"Items with {nats.tolist()} nats have the total probability {total:g}."
    )


@check(
    "Compute log_probabilities with log_softmax over the whole vocabulary, before any option filters it.",
    needs=(any_number_of_samples_can_be_generated,),
)
def next_token_probabilities_sum_to_one(subject: ModelSubject) -> None:
    """The probabilities of the next token sum to one, and ``top`` lists the most likely tokens.

    If the sum is smaller, probability went to tokens that cannot occur.
    """
    prediction = _predict(subject, _prompt(subject))
    log_p = prediction.log_probabilities
    assert log_p.ndim == 1, f"log_probabilities has the shape {tuple(log_p.shape)}, not (vocabulary,)."
    total = log_p.double().exp().sum().item()
    assert abs(total - 1) <= 1e-3, f"The probabilities of the next token sum to {total:g}."
    top = prediction.top(3)
    best = log_p.double().exp().topk(min(3, len(log_p))).values.tolist()
    assert all(math.isclose(p, q, rel_tol=1e-3) for (_, _, p), q in zip(top, best, strict=True)), (
        f"top returns the probabilities {[p for _, _, p in top]}; the largest are {best}."
    )


@check(
    "Run the same network over the same tokens in next_token and log_likelihood.",
    needs=(next_token_probabilities_sum_to_one, scores_are_finite),
)
def next_token_agrees_with_the_score(subject: ModelSubject) -> None:
    """p(text + token) equals p(text) times the probability of the token, also summed over a small vocabulary.

    Otherwise ``zoo next`` and ``zoo score`` would describe two different models.
    """
    subject.require_capability("score", Scorer)
    prompt = _prompt(subject)
    prediction = _predict(subject, prompt)
    vocabulary = len(prediction.log_probabilities)
    begun = subject.score([prompt], (0,)).nats.item()
    expected = found = 0.0
    for token, text, p in prediction.top(vocabulary if vocabulary <= SMALL_VOCABULARY else LIKELIEST):
        # A longer text may be tokenized differently; its score then says nothing about this token.
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
    "Return finite float32 vectors (n, d), computed from each text alone.",
    needs=(the_model_loads,),
)
def an_embedding_does_not_depend_on_its_batch(subject: ModelSubject) -> None:
    """Texts have finite vectors that differ, and each is the same alone and beside others.

    A server embeds the texts of several people, and their vectors are compared with those of another day.
    """
    subject.require_capability("embed", Embedder)
    generator = subject.generator
    assert isinstance(generator, Embedder)
    texts = ("a", "feed a cab")
    with torch.inference_mode():
        found = generator.embed_texts(texts)
        alone = generator.embed_texts(texts[1:]).vectors[0]
    vectors = found.vectors
    assert vectors.ndim == 2, f"The vectors of 2 texts have the shape {tuple(vectors.shape)}."
    assert len(vectors) == len(found.tokens) == 2, "There must be a vector and a number of tokens per text."
    assert vectors.dtype == torch.float32, f"Vectors are {vectors.dtype}, not float32."
    assert torch.isfinite(vectors).all(), "Vectors are not finite."
    assert not torch.equal(vectors[0], vectors[1]), f"{texts[0]!r} and {texts[1]!r} have the same vector."
    apart = ((alone - vectors[1]).norm() / alone.norm()).item()
    assert apart <= SCORE_TOLERANCE, f"A vector moves by {apart:.2%} of its length in a batch of two."


@check(
    "Implement generate() as synthesize(encode(batch), batch.options, batch.noise).",
    needs=(global_random_state_is_not_used,),
)
def latents_reproduce_the_images(subject: ModelSubject) -> None:
    """``synthesize(encode(batch))`` gives the same images as ``generate(batch)``.

    Interpolating, mixing and editing start from a sample that the user has already seen.
    """
    subject.require_capability("latents", Latents)
    generator = subject.generator
    assert isinstance(generator, Latents)
    batch = subject.batch()
    with torch.inference_mode():
        latents = generator.encode(batch)
        assert len(latents) == len(SEEDS), f"{len(SEEDS)} samples have {len(latents)} latents."
        images = generator.synthesize(latents, batch.options, batch.noise)
    require_alike(list(images.float().cpu()), subject.rows, "synthesize(encode(batch))")


@check(
    "Return the tokens of the rendered messages in encode_chat, and use conversation i for row i only.",
    needs=(any_number_of_samples_can_be_generated,),
)
def conversations_are_answered(subject: ModelSubject) -> None:
    """A conversation has tokens, and its answer does not depend on the other conversations of its batch.

    A server answers the conversations of several people in one batch.
    """
    subject.require_capability("chat", Chat)
    generator = subject.generator
    assert isinstance(generator, Chat)
    talks: list[Sequence[Message]] = [
        [{"role": "user", "content": text}] for text in ("Hello!", "What is the capital of France?")
    ]
    for talk in talks:
        tokens = generator.encode_chat(talk)
        assert tokens, "A conversation has no tokens."
        assert all(isinstance(token, int) for token in tokens), "encode_chat returns no tokens."
    together = subject.run.rows((0, 1), prompt=talks)
    for i, talk in enumerate(talks):
        require_alike(subject.run.rows((i,), prompt=talk), together[i : i + 1], f"Conversation {i} alone")


@check(
    "Make row i in edit() of the image and row i of noise, options and prompts only.",
    needs=(any_number_of_samples_can_be_generated,),
)
def edits_do_not_depend_on_their_batch(subject: ModelSubject) -> None:
    """A sample that begins with an image does not depend on the other samples of its batch.

    A batch is as large as the memory of the machine allows, and a replay makes one sample.
    """
    subject.require_capability("edit", Editor)
    alone = rows_of(subject.edit(SEEDS[-1:]))
    require_alike(alone, rows_of(subject.edited)[-1:], f"The edit with seed {SEEDS[-1]} alone")


@check(
    "Return image.pasted(images) in edit().",
    needs=(edits_do_not_depend_on_their_batch,),
)
def a_mask_keeps_the_rest(subject: ModelSubject) -> None:
    """Pixels where the mask is black are those of the image.

    Users mask what is to change, and count on the rest to stay.
    """
    subject.require_capability("edit", Editor)
    if "mask" not in subject.card.options:
        raise NotApplicable(f"{subject.card.id} has no option mask")
    images = subject.edited.images
    assert images is not None
    given = subject.rows[0]
    assert isinstance(given, torch.Tensor)
    half = given.shape[2] // 2
    furthest = (images.float().cpu() - given)[..., :half].abs().max().item()
    assert furthest <= 2 / 255, f"A pixel that the mask keeps moved by {furthest * 127.5:.0f} of 255 levels."


@check(
    "Make the latents in encode_image() of the image only, and row i in decode_latents() of row i only.",
    needs=(any_number_of_samples_can_be_generated,),
)
def encoded_images_are_decoded(subject: ModelSubject) -> None:
    """An image has the same latents each time, and they decode to the same image alone and in a batch.

    Latents of a data set are computed once and kept, and decoded by as many as fit into memory.
    """
    subject.require_capability("encode", Autoencoder)
    model, given = subject.run.model, subject.rows[0]
    assert isinstance(given, torch.Tensor), "Only images have latents."
    pair = [to_image(to_bytes(each)) for each in (given, given.flip(2))]
    latents = [model.encode_image(image) for image in pair]
    assert len(latents[0]) == 1, f"An image has {len(latents[0])} latents."
    assert torch.equal(latents[0], model.encode_image(pair[0])), "An image has other latents each time."
    images = model.decode(torch.cat(latents)).float().cpu()
    alone = model.decode(latents[1]).float().cpu()
    assert images.shape == (2, *given.shape), f"Images of {tuple(given.shape)} became {tuple(images.shape)}."
    assert images.isfinite().all(), "The decoded images are not finite."
    require_alike(list(alone), list(images[1:]), "The image decoded alone")


def _prompt(subject: ModelSubject) -> str:
    """Return a prompt to predict from: the suite's prompt, else the beginning of a sample."""
    subject.require_capability("next-token", NextToken)
    if subject.run.prompt:
        return subject.run.prompt
    return next((str(row)[:LEADING] for row in subject.wide if row), "a")


def _predict(subject: ModelSubject, prompt: str) -> Prediction:
    generator = subject.generator
    if not isinstance(generator, NextToken):
        raise NotApplicable(f"{subject.card.id} does not declare the capability next-token")
    with torch.inference_mode():
        return generator.next_token(prompt)


def _differ(one: Row, other: Row) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return not torch.equal((127.5 * (one + 1)).round(), (127.5 * (other + 1)).round())
    return one != other
