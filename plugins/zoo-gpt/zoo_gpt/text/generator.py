"""The generator of texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

import zoo_core
from zoo_core import (
    Batch,
    Checkpoint,
    Embeddings,
    Message,
    Noise,
    OptionError,
    Prompt,
    Score,
    Step,
    TokenMask,
    TokenMasks,
    Vocabulary,
    WeightsError,
    ZooError,
    create_token_masks,
    read_options,
)
from zoo_gpt.decoding.compiled import dtype_of_file
from zoo_gpt.decoding.decode import decode, require_numbers
from zoo_gpt.decoding.inference import default_dtype, optimize_for_inference
from zoo_gpt.decoding.likelihood import log_likelihoods, token_log_likelihoods
from zoo_gpt.decoding.sampling import SamplingOptions, TokenSampler
from zoo_gpt.decoding.speculative import Pace, fits, speculate
from zoo_gpt.gguf.checkpoint import GGUFCheckpoint
from zoo_gpt.gguf.quantised import QuantisedRows, load_quantised
from zoo_gpt.network.checkpoint import load_transformer
from zoo_gpt.network.transformer import Transformer
from zoo_gpt.text.chat import encode_chat, read_tools
from zoo_gpt.text.growing import GrowingTexts
from zoo_gpt.text.logprobs import describe
from zoo_gpt.text.running import RunningTexts
from zoo_gpt.text.streaming import Answer, StreamDecoder
from zoo_gpt.text.tokenizer import Tokenizer

CONSTRAINTS = ("json_schema", "regex", "grammar")
"""The options that constrain a text; their names are the languages of ``zoo_create_token_masks``."""
MOST_CONSTRAINTS = 16
"""Compiled constraints that a model keeps."""


@dataclass(frozen=True)
class TextOptions(SamplingOptions):
    """The options of a language model."""

    min_p: float | None
    repetition_penalty: float
    max_tokens: int
    stop: str | None
    chat: bool
    template: str | None
    tools: str | None
    json_schema: str | None
    regex: str | None
    grammar: str | None
    logprobs: int | None
    draft: str | None
    overflow: str


@dataclass(frozen=True)
class Prediction:
    """The distribution over the token that follows a prompt, and the likelihood of the prompt itself."""

    tokens: tuple[int, ...]
    """The prompt's tokens, the one that begins a text included."""
    factors: Tensor
    """(len(tokens) − 1,) float32: log p of every token but the first given those before it, in nats."""
    log_probabilities: Tensor
    """(vocabulary,) float32: log p(· | tokens), in nats."""
    tokenizer: Tokenizer

    def top(self, k: int) -> list[tuple[int, str, float]]:
        """Return the k likeliest next tokens, each as (id, its text, its probability)."""
        values, ids = self.log_probabilities.topk(min(k, len(self.log_probabilities)))
        return self._rows(ids.tolist(), values.exp().tolist())

    def chain(self) -> list[tuple[int, str, float]]:
        """Return the chain rule's factors: each token but the first as (id, its text, log p in nats)."""
        return self._rows(self.tokens[1:], self.factors.tolist())

    def _rows(self, tokens: Sequence[int], figures: Sequence[float]) -> list[tuple[int, str, float]]:
        return [(t, self.tokenizer.show(t), figure) for t, figure in zip(tokens, figures, strict=True)]


class GPT:
    """A language model that writes, scores and predicts texts.

    Args:
        checkpoint: A checkpoint in the layout of transformers.
        tokenizer: Its tokenizer.
        device: The device to compute on.
        dtype: Type of the weights; None: the fastest in which a sample does not depend on its batch.

    Raises:
        WeightsError: The checkpoint is not a supported language model.
    """

    batch_size = 8

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: Tokenizer,
        device: torch.device,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        quantised: Mapping[str, QuantisedRows] = {}
        if isinstance(checkpoint, GGUFCheckpoint) and checkpoint.adapter is None:
            transformer, quantised = load_quantised(checkpoint)
        else:
            transformer = load_transformer(checkpoint)
        self.dtype = dtype or dtype_of_file(device, transformer, quantised) or default_dtype(device)
        self.transformer = optimize_for_inference(
            transformer, device=device, dtype=self.dtype, quantised=quantised
        )
        self.context = transformer.config.context
        self._drafts: dict[str, tuple[Transformer, Pace]] = {}
        self._constraints: dict[tuple[str, str], TokenMasks] = {}

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Continue the batch's prompts; every step has the texts so far.

        Raises:
            OptionError: A prompt does not fit into the context, or the model has no chat template.
        """
        texts = self.begin(batch)
        for index, tokens in enumerate(
            self._decode(texts, read_options(TextOptions, batch.options)), start=1
        ):
            step = texts.push(index, tokens)
            yield step
            if step.index == step.total:
                return

    def _decode(self, texts: GrowingTexts, options: TextOptions) -> Iterator[Tensor]:
        """Yield the next token of every text; a draft proposes them where a text is alone."""
        if options.draft is not None and len(texts.prompts) == 1:
            (prompt,), (draft, pace) = texts.prompts, self._draft(options.draft)
            if fits(self.transformer, draft, len(prompt) + texts.steps) and not pace.has_failed:
                return speculate(
                    self.transformer, draft, prompt, texts.steps, texts.sample, texts.sampler, pace
                )
        return decode(self.transformer, texts.prompts, texts.steps, texts.sample)

    def _draft(self, name: str) -> tuple[Transformer, Pace]:
        """Return the network of a draft model, which must have the same tokens, and whether it pays."""
        if name not in self._drafts:
            try:
                other = zoo_core.load(name, device=str(self.transformer.device)).generator
            except ZooError as error:
                raise OptionError(f"--draft {name}: {error.message}", error.remedy) from error
            tokens = self.vocabulary.tokens
            if not isinstance(other, GPT) or any(
                a != b for a, b in zip(other.vocabulary.tokens, tokens, strict=False)
            ):
                raise OptionError(
                    f"--draft {name}: its tokens are not those of {self.tokenizer.source}.",
                    "Give a smaller model of the same family.",
                )
            self._drafts[name] = other.transformer, Pace(name)
        return self._drafts[name]

    def running_batch(self) -> RunningTexts:
        """Return texts that join and leave at every token."""
        return RunningTexts(self.transformer, self.begin)

    def begin(self, batch: Batch) -> GrowingTexts:
        """Return a batch's texts before their first token.

        Raises:
            OptionError: A prompt does not fit into the context, or the model has no chat template.
        """
        options = read_options(TextOptions, batch.options)
        conversations = batch.conversations or (None,) * batch.n
        prompts = [
            self._fit(self._known(self._encode(text if talk is None else talk, options)), options)
            for text, talk in zip(batch.prompts, conversations, strict=True)
        ]
        limits = [min(options.max_tokens, self.context - len(prompt)) for prompt in prompts]
        answers = [
            Answer(
                StreamDecoder(self.tokenizer),
                limit,
                self.tokenizer.eos,
                options.stop,
                limited_by_context=limit < options.max_tokens,
                prompt_tokens=len(prompt),
            )
            for prompt, limit in zip(prompts, limits, strict=True)
        ]
        vocab, masks = self.transformer.config.vocab_out, self._masks(options, batch.n)
        sampler = TokenSampler(options, prompts, batch.noise, vocab, max(limits), masks)
        tell = None
        if options.logprobs is not None:
            tell = partial(describe, k=options.logprobs, tokenizer=self.tokenizer)
        return GrowingTexts(prompts, answers, sampler, tell)

    def log_likelihood(self, data: Sequence[str], noise: Noise | None = None) -> Score:
        """Return log p of texts, with their token counts as sizes; long texts are read in windows.

        The first token is scored too if the model has a token that begins a text.
        """
        nats, sizes = [], []
        for text in data:
            scores = log_likelihoods(self.transformer, self._with_bos(encode_text(self.tokenizer, text)))
            nats.append(scores.double().sum())
            sizes.append(len(scores))
        return Score(torch.stack(nats), torch.tensor(sizes))

    def next_token(self, prompt: str) -> Prediction:
        """Return the distribution over the token that follows ``prompt``.

        Raises:
            OptionError: The prompt is longer than the context, or empty and no token begins a text.
        """
        tokens = self._with_bos(encode_text(self.tokenizer, prompt))
        if not tokens or len(tokens) > self.context:
            raise self._does_not_fit(len(tokens))
        ids = torch.tensor(tokens, device=self.transformer.device)
        features = self.transformer.features(ids[None])[0]
        factors = token_log_likelihoods(self.transformer, features[:-1], ids[1:])
        following = self.transformer.logits(features[-1:])[0].float().log_softmax(-1)
        require_numbers(following)
        return Prediction(tuple(tokens), factors.cpu(), following.cpu(), self.tokenizer)

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        """Return the mean of each text's features, after the last norm; each text is read alone.

        These are ``last_hidden_state.mean(1)`` of transformers. A language model is not trained for them.

        Raises:
            OptionError: A text is longer than the context, or empty and no token begins a text.
        """
        rows = [self._with_bos(encode_text(self.tokenizer, text)) for text in texts]
        vectors = []
        for tokens in rows:
            if not 0 < len(tokens) <= self.context:
                raise OptionError(
                    f"A text has {len(tokens):,} tokens; an embedding is of 1 to {self.context:,}.",
                    "Shorten the text." if tokens else "Give a text that is not empty.",
                )
            features = self.transformer.features(torch.tensor([tokens], device=self.transformer.device))
            vectors.append(features[0].float().mean(0))
        found = torch.stack(vectors).cpu()
        require_numbers(found)
        return Embeddings(found, torch.tensor([len(tokens) for tokens in rows]))

    def _masks(self, options: TextOptions, n: int) -> list[TokenMask]:
        """Return the mask of each text; none if no constraint is given."""
        given = {
            language: source for language in CONSTRAINTS if (source := getattr(options, language)) is not None
        }
        if len(given) > 1:
            flags = (f"--{language.replace('_', '-')}" for language in given)
            raise OptionError(f"A text has one constraint, not {' and '.join(flags)}.", "Give one of them.")
        for language, source in given.items():
            create = self._compiled(language, source)
            return [create() for _ in range(n)]
        return []

    def _compiled(self, language: str, source: str) -> TokenMasks:
        """Return a constraint, compiled once: to find the plugin and compile takes as long as some tokens."""
        if (language, source) not in self._constraints:
            if len(self._constraints) == MOST_CONSTRAINTS:
                self._constraints.clear()
            self._constraints[language, source] = create_token_masks(language, source, self.vocabulary)
        return self._constraints[language, source]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens that the network can predict."""
        return self.tokenizer.vocabulary(self.transformer.config.vocab_out)

    def _encode(self, prompt: Prompt | None, options: TextOptions) -> list[int]:
        tools = None if options.tools is None else read_tools(options.tools)
        if prompt is not None and not isinstance(prompt, str):
            if options.template is not None:
                raise OptionError("--template is for a text, not for messages.", "Leave out --template.")
            return encode_chat(self.tokenizer, prompt, tools)
        text = prompt or ""
        if options.template is not None:
            text = options.template.replace("{prompt}", text)
        if options.chat:
            if not text:
                raise OptionError("A chat needs a message to answer.", "Give a prompt, or add --no-chat.")
            return encode_chat(self.tokenizer, [{"role": "user", "content": text}], tools)
        if tools is not None:
            raise OptionError("--tools are for a conversation.", "Add --chat.")
        tokens = encode_text(self.tokenizer, text)
        return tokens if tokens else self._with_bos(tokens)

    def _with_bos(self, tokens: list[int]) -> list[int]:
        """Return the tokens after the one that begins a text, if the model has one."""
        bos = self.tokenizer.bos
        return self._known(tokens if bos is None or tokens[:1] == [bos] else [bos, *tokens])

    def _known(self, tokens: list[int]) -> list[int]:
        """Return the tokens, all of which the network must have."""
        vocab_size = self.transformer.config.vocab_size
        if tokens and max(tokens) >= vocab_size:
            raise WeightsError(
                f"{self.tokenizer.source}: its tokenizer gives the token {max(tokens)}, but vocab_size is "
                f"{vocab_size} in config.json.",
                "Download the checkpoint again, with all its files.",
            )
        return tokens

    def _fit(self, tokens: list[int], options: TextOptions) -> list[int]:
        if 0 < len(tokens) < self.context:
            return tokens
        if tokens and options.overflow == "slide":
            return tokens[-max(1, self.context - options.max_tokens) :]
        raise self._does_not_fit(len(tokens))

    def _does_not_fit(self, count: int) -> OptionError:
        if not count:
            return OptionError("This model cannot start a text without a prompt.", "Give a prompt.")
        return OptionError(
            f"The prompt has {count:,} tokens, but the model's context is {self.context:,}, answer included.",
            "Shorten the prompt, or keep only its end: --overflow slide.",
        )


class ChatGPT(GPT):
    """A language model with a chat template."""

    def encode_chat(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """Return the tokens of a conversation, up to where the answer begins.

        Raises:
            OptionError: The template refuses the messages.
        """
        return self._known(encode_chat(self.tokenizer, messages, tools))


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the tokens of a text; the token that begins a text is not doubled if the text spells it."""
    tokens = tokenizer.encode(text)
    begins = tokenizer.encode("")[:1]
    return tokens[1:] if begins and tokens[:2] == 2 * begins else tokens


def create(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None) -> GPT:
    """Load a language model; the arguments and errors are those of :class:`GPT`."""
    tokenizer = Tokenizer.read(checkpoint)
    kind = GPT if tokenizer.chat_template is None else ChatGPT
    return kind(checkpoint, tokenizer, device, dtype)
