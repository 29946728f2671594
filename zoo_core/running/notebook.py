"""What a notebook shows of a model: its card."""

from __future__ import annotations

import html

from zoo_core.manifest.cards import ModelCard


def card_html(card: ModelCard, computes: str) -> str:
    """Return HTML that shows a card, with where and in what type its model computes."""
    rows = {
        "Makes": f"{card.output} ({card.family})",
        "Plugin": card.plugin,
        "Licence": card.license,
        "Paper": card.paper,
        "Capabilities": ", ".join(card.capabilities),
        "Computes": computes,
        **{option.name: f"{option.description} ({option.expects})" for option in card.options.values()},
    }
    cells = "".join(
        f"<tr><th style='text-align: left'>{html.escape(name)}</th>"
        f"<td style='text-align: left'>{html.escape(str(text))}</td></tr>"
        for name, text in rows.items()
        if text
    )
    return f"<b>{html.escape(card.id)}</b>: {html.escape(card.summary)}<table>{cells}</table>"
