"""Language models of the zoo in EleutherAI's lm-evaluation-harness: the model type ``zoo``.

    python -m zoo_gpt.text.harness --model zoo --model_args model=gpt2 --tasks lambada_openai

takes the arguments of the command ``lm_eval``, which itself cannot know models of other packages. From
Python, importing this module makes ``simple_evaluate(model="zoo", …)`` work. Likelihoods are those of ``zoo
score``: the token that begins a text comes first, and a text longer than the context is read in windows.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

import zoo_core
from zoo_core import ZooError
from zoo_gpt.text.chat import render
from zoo_gpt.text.generator import GPT, encode_text

LM_EVAL_DEVICE = "cuda:0"
"""What ``lm_eval`` passes if no device is given; it counts as ``auto``."""
MAX_TOKENS = 256
"""Tokens of a generated text, unless the task says how many."""


@register_model("zoo")
class ZooLM(TemplateLM):
    """A language model of the zoo.

    Args:
        model: What ``zoo run`` takes: an id or alias, ``hf:ORG/REPO``, or a folder.
        device: As for :func:`zoo_core.load`.
        dtype: As for :func:`zoo_core.load`.
        adapter: As for :func:`zoo_core.load`.
        batch_size: Ignored: texts are scored one by one, so that a score does not depend on its batch.
        max_batch_size: Ignored.

    Raises:
        ZooError: There is no such model, or zoo-gpt does not run it.
    """

    def __init__(
        self,
        model: str,
        device: str | None = None,
        dtype: str = "auto",
        adapter: str | None = None,
        batch_size: object = None,
        max_batch_size: object = None,
    ) -> None:
        super().__init__()
        if device in (None, LM_EVAL_DEVICE):
            device = "auto"
        self.model = zoo_core.load(model, device=device, dtype=dtype, adapter=adapter)
        if not isinstance(self.model.generator, GPT):
            raise ZooError(
                f"{model} is not a language model of zoo-gpt.", "See them: zoo list --plugin zoo-gpt"
            )
        self.generator = self.model.generator
        self.tokens = self.generator.tokenizer

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return min(self.tokens.eos)

    @property
    def prefix_token_id(self) -> int:
        """The token that begins a text, or else the one that ends it."""
        return self.eot_token_id if self.tokens.bos is None else self.tokens.bos

    @property
    def tokenizer_name(self) -> str:
        """The checkpoint, for caches of requests."""
        return self.model.checkpoint.digest

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **extra: Any) -> list[int]:
        """Return the tokens of a text, without the one that begins it."""
        tokens = encode_text(self.tokens, string)
        return tokens[1:] if tokens[:1] == [self.tokens.bos] else tokens

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the chat template, for the report."""
        return self.tokens.chat_template if chat_template else None

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True
    ) -> str:
        """Return a conversation as text."""
        return render(self.tokens, chat_history, add_generation_prompt=add_generation_prompt)

    @torch.inference_mode()
    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **extra: Any
    ) -> list[tuple[float, bool]]:
        return [self._score(context, continuation) for _, context, continuation in requests]

    def _score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        """Return log p(continuation | context) in nats, and whether greedy decoding continues so."""
        transformer, size = self.generator.transformer, len(continuation)
        start = [] if self.tokens.bos in (None, context[0]) else [self.tokens.bos]
        ids = torch.tensor([*start, *context, *continuation], device=transformer.device)
        ids = ids[-transformer.config.context - 1 :]
        features = transformer.features(ids[None, :-1])[0, -size:]
        log_p = transformer.logits(features).float().log_softmax(-1)
        targets = ids[-len(log_p) :]
        greedy = bool((log_p.argmax(-1) == targets).all())
        return float(log_p.gather(1, targets[:, None]).double().sum()), greedy

    @torch.inference_mode()
    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of whole texts in nats, as ``zoo score`` computes it."""
        texts = [request.args[0] for request in requests]
        return [float(self.generator.log_likelihood([text]).nats[0]) if text else 0.0 for text in texts]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return what follows each context, up to the first of the task's stop strings."""
        return [self._generate(*request.args) for request in requests]

    def _generate(self, context: str, settings: Mapping[str, Any]) -> str:
        until = settings.get("until") or []
        stops = [until] if isinstance(until, str) else list(until)
        sampled = settings.get("do_sample", False)
        options: dict[str, Any] = {
            "temperature": float(settings.get("temperature", 1.0)) if sampled else 0.0,
            "max_tokens": int(settings.get("max_gen_toks", MAX_TOKENS)),
            "overflow": "slide",
            "chat": False,
            "template": None,
            "stop": stops[0] if len(stops) == 1 else None,
        }
        (sample,) = self.model.generate(context, seed=0, **options)
        text = sample.text or ""
        return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except ZooError as error:
        sys.exit(str(error))
