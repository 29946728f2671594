"""The cards of models, from which one is chosen."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape

from zoo_serve.models import license_note
from zoo_serve.weights import size_of

from zoo_core import ModelCard


def matching(cards: Mapping[str, ModelCard], words: str) -> dict[str, ModelCard]:
    """Return the cards that have every word in their id, summary, family, licence or capabilities."""
    wanted = words.lower().split()
    return {id: card for id, card in cards.items() if all(word in _searched(id, card) for word in wanted)}


def cards_html(cards: Mapping[str, ModelCard], chosen: str | None) -> str:
    """Return the cards as buttons; each tells its model's id when it is pressed."""
    if not cards:
        return '<p class="zoo-hint">No model matches these words.</p>'
    return (
        f'<div class="zoo-cards">{"".join(_card(id, card, id == chosen) for id, card in cards.items())}</div>'
    )


def heading_html(id: str, card: ModelCard) -> str:
    """Return what stands above a model's form."""
    note = license_note(card)
    paper = (
        f'<a href="https://arxiv.org/abs/{escape(card.paper.removeprefix("arXiv:"))}">{escape(card.paper)}</a>'
        if (card.paper and card.paper.startswith("arXiv:"))
        else escape(card.paper or "")
    )
    parts = [escape(card.summary), f"{_badges(card)} {paper}"]
    if note:
        parts.append(f'<span class="zoo-warning">{escape(note)}</span>')
    return f"<h2>{escape(id)}</h2>{''.join(f'<p>{part}</p>' for part in parts)}"


def _card(id: str, card: ModelCard, chosen: bool) -> str:
    image = ""
    if card.example and card.example.is_file():
        data = base64.b64encode(card.example.read_bytes()).decode()
        image = f'<img src="data:image/png;base64,{data}" alt="" loading="lazy">'
    return (
        f'<button type="button" class="zoo-card" data-id="{escape(id)}" aria-pressed="{str(chosen).lower()}">'
        f"{image}<strong>{escape(id)}</strong><span>{escape(card.summary)}</span><span>{_badges(card)}</span></button>"
    )


def _badges(card: ModelCard) -> str:
    size = (
        f"{card.parameters / 1e6:,.3g} M parameters"
        if card.parameters
        else f"{size_of(card) / 2**20:,.0f} MiB"
    )
    words: Iterable[str] = (card.output, card.family, size, card.license, *card.capabilities)
    return " ".join(f'<span class="zoo-badge">{escape(word)}</span>' for word in words)


def _searched(id: str, card: ModelCard) -> str:
    parts = (id, *card.aliases, card.summary, card.family, card.output, card.license, card.plugin)
    return " ".join((*parts, *card.capabilities)).lower()
