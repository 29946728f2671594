"""Speculative decoding: a small network proposes tokens, the large one checks several of them at once.

Leviathan et al. 2023 (arXiv:2211.17192) and Chen et al. 2023 (arXiv:2302.01318) accept proposals such that
the distribution stays that of the large network. Here both networks draw with the same uniform number of each
token, and a proposal is accepted if the large network draws it too. So not only the distribution but the
sample is that of plain decoding.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zoo_core.kernels import Int8Linear
from zoo_gpt.decoding.decode import Sample, cache_dtype, require_numbers
from zoo_gpt.decoding.sampling import TokenSampler
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.transformer import Transformer

_log = logging.getLogger(__name__)

PROPOSALS = 4
"""Tokens that are proposed at once."""
PLAIN_STEPS = 3
"""Steps without proposals at the start, to know how long one takes."""
TRIAL = 6
"""Rounds after which proposals end if they make texts slower."""


class Reader:
    """A network that reads one sequence, and can forget its end.

    Args:
        transformer: The network.
        capacity: Number of tokens to have room for.
    """

    def __init__(self, transformer: Transformer, capacity: int) -> None:
        self.transformer = transformer
        self.cache = KVCache(transformer.config, 1, capacity, transformer.device, cache_dtype(transformer))

    def read(self, tokens: Sequence[int], last: int = 1) -> Tensor:
        """Read tokens; return the logits after each of the ``last`` ones, (last, vocab_out) float32."""
        ids = torch.tensor([tokens], device=self.transformer.device)
        features = self.transformer.features(ids, self.cache)[:, -last:]
        return torch.cat([self.transformer.logits(features[:, i]).float() for i in range(last)])

    def read_again(self, tokens: Sequence[int], prompt: int) -> None:
        """Read all tokens but the last anew, as plain decoding does: the prompt at once, then one by one."""
        self.cache.length = 0
        self.read(tokens[:prompt])
        for token in tokens[prompt:-1]:
            self.read([token])


def fits(target: Transformer, draft: Transformer, length: int) -> bool:
    """Return True if ``length`` tokens can be decoded speculatively.

    Both networks must read them with one cache, and the large one must compute in float32: coarser types
    round too much to tell whether a token would be the same.
    """
    return (
        target.dtype == torch.float32
        and not any(isinstance(module, Int8Linear) for module in target.modules())
        and length <= draft.config.context
        and not any(
            network.must_read_again(each) for network in (target, draft) for each in range(2, length + 1)
        )
    )


def speculate(
    target: Transformer,
    draft: Transformer,
    prompt: Sequence[int],
    steps: int,
    sample: Sample,
    sampler: TokenSampler,
    pace: Pace,
) -> Iterator[Tensor]:
    """Yield the next token of one sequence, (1,) int64, ``steps`` times, as :func:`decode` does.

    Args:
        target: The network whose samples are made.
        draft: A faster network with the same vocabulary.
        prompt: At least one token. Prompt and steps must fit into both networks.
        steps: Number of tokens to add.
        sample: Chooses the tokens.
        sampler: What ``sample`` draws with.
        pace: Ends the proposals if they make texts slower.

    Raises:
        WeightsError: A network computes NaN.
    """
    capacity = len(prompt) + steps + PROPOSALS
    reader, proposer = Reader(target, capacity), Reader(draft, capacity)
    committed, made = list(prompt), 0
    uncertain = False
    exact = True  # all was read as plain decoding reads it
    while made < steps:
        start, before = time.perf_counter(), made
        again = uncertain
        if again:
            reader.read_again(committed, len(prompt))
            exact = True
        # The prompt is read alone, as plain decoding does.
        room = min(PROPOSALS, steps - made - 1) if made and pace.pays and not uncertain else 0
        proposals = _propose(proposer, committed, sampler, room, target.config.vocab_size)
        exact = exact and not proposals
        logits = reader.read([*committed[reader.cache.length :], *proposals], len(proposals) + 1)
        if not made:
            require_numbers(logits)
        uncertain = False
        for row, proposal in zip(logits[:, None], [*proposals, None], strict=True):
            # Several tokens read at once round in another way. Where that could decide, read one by one.
            if not exact and not sampler.is_certain(row):
                uncertain = True
                break
            token = sample(row)
            committed.append(int(token))
            made += 1
            yield token
            if committed[-1] != proposal:
                break
        for each in (reader, proposer):
            each.cache.length = min(each.cache.length, len(committed) - 1)
        pace.add(made - before, time.perf_counter() - start, proposed=bool(proposals) or again)


def _propose(
    proposer: Reader, committed: Sequence[int], sampler: TokenSampler, count: int, vocab_size: int
) -> list[int]:
    """Return at most ``count`` tokens that the small network draws with the numbers of the next steps."""
    proposals: list[int] = []
    unread = list(committed[proposer.cache.length :])
    for ahead in range(count):
        token = int(sampler.preview(proposer.read(unread), ahead))
        if token >= vocab_size:
            break
        proposals.append(token)
        unread = [token]
    return proposals


class Pace:
    """Whether a draft makes texts faster, by the seconds that tokens took with and without proposals.

    Args:
        name: The draft, for the message that it is left out.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.plain: list[float] = []
        self.rounds = self.tokens = 0
        self.seconds = 0.0

    @property
    def pays(self) -> bool:
        """False for the first plain steps, and once proposals have turned out slower."""
        return len(self.plain) > PLAIN_STEPS and not self.has_failed

    @property
    def has_failed(self) -> bool:
        """True once proposals have turned out slower."""
        return self.rounds >= TRIAL and self.seconds > self.tokens * min(self.plain)

    def add(self, tokens: int, seconds: float, *, proposed: bool) -> None:
        """Count a round."""
        if not proposed:
            self.plain.append(seconds)
            return
        self.rounds += 1
        if self.rounds > 1:  # in the first round the small network reads the prompt
            self.tokens += tokens
            self.seconds += seconds
        if self.has_failed:
            _log.warning(
                "--draft %s is left out from here on: with it a token takes %.3g ms, without it %.3g ms. "
                "It gives %.1f of at most %d tokens at once.",
                self.name,
                1000 * self.seconds / max(1, self.tokens),
                1000 * min(self.plain),
                self.tokens / (self.rounds - 1),
                PROPOSALS + 1,
            )
