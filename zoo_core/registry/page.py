"""A static directory of plugins and models: HTML and CSS, without scripts.

Everything in a registry comes from strangers. It is drawn as text: escaped, without control characters, and a
link only where it is an http address. The pages load nothing from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from zoo_core.errors import visible
from zoo_core.files import write_atomically
from zoo_core.manifest.cards import EmbeddedWeights, HubWeights, ModelCard, Option
from zoo_core.registry.entries import Entry

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2em auto; padding: 0 1em }
body { max-width: 1080px }
h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin-top: 2em } a { color: #0645ad }
code, pre { background: #f3f3f3; padding: 1px 4px; font-size: 13px } pre { padding: 8px; overflow-x: auto }
pre.sample { white-space: pre-wrap; font-family: Georgia, serif }
table { border-collapse: collapse } td, th { padding: 3px 10px 3px 0; text-align: left; vertical-align: top }
tr { border-bottom: 1px solid #ddd } img { display: block; max-width: 100%; image-rendering: pixelated }
td code, td:first-child { white-space: nowrap } .cards { align-items: start }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 18px }
.cards > div { border: 1px solid #ddd; border-radius: 6px; padding: 10px; overflow-wrap: anywhere }
.cards img { width: 100%; margin-bottom: 6px } small { color: #666 }
"""
_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self'; style-src 'self'">
<link rel="stylesheet" href="style.css"><title>{title}</title>
"""


def write_pages(entries: Sequence[Entry], folder: Path, samples: Path | None = None) -> int:
    """Write index.html, a page for each plugin, and what they show; return the number of pages.

    Args:
        entries: The plugins; the first of a name counts.
        folder: Where to write. Files of these names are replaced.
        samples: A folder with ``MODEL.png`` or ``MODEL.txt``, for models that should show one.
    """
    chosen = {entry.name: entry for entry in reversed(entries)}
    entries = [chosen[name] for name in sorted(chosen)]
    drawn: dict[str, str] = {}
    for card in (card for entry in entries for card in entry.manifest.models):
        if sample := samples and _sample_of(card, samples):
            name = f"samples/{file_name(card.id)}{sample.suffix}"
            if sample.suffix == ".png":
                write_atomically(folder / name, sample.read_bytes(), overwrite=True)
                drawn[card.id] = f'<img src="{name}" alt="Samples of {_text(card.id)}" loading="lazy">'
            else:
                text = sample.read_text(encoding="utf-8", errors="replace")[:2000]
                drawn[card.id] = f'<pre class="sample">{_text(text, keep=chr(10))}</pre>'
    pages = {f"{file_name(entry.name)}.html": _plugin_page(entry, drawn) for entry in entries}
    pages["index.html"] = _index(entries, drawn)  # last: no plugin's name takes its place
    for name, content in {"style.css": STYLE, **pages}.items():
        write_atomically(folder / name, content.encode(), overwrite=True)
    return len(pages)


def file_name(name: str) -> str:
    """Return a name that is safe in a path and an address."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"


def _sample_of(card: ModelCard, samples: Path) -> Path | None:
    paths = (samples / f"{file_name(card.id)}{suffix}" for suffix in (".png", ".txt"))
    return next((path for path in paths if path.is_file()), None)


def _index(entries: Sequence[Entry], drawn: Mapping[str, str]) -> str:
    models = [(entry, card) for entry in entries for card in entry.manifest.models]
    models.sort(key=lambda each: each[1].id not in drawn)
    rows = "".join(
        f"<tr><td>{_page_of(entry)}<td>{_text(entry.manifest.summary)}<td>{len(entry.manifest.models)}"
        f"<td><code>zoo install {_text(entry.name)}</code>\n"
        for entry in entries
    )
    cards = "".join(
        f"<div>{drawn.get(card.id, '') if card.output == 'image' else ''}"
        f'<a href="{file_name(entry.name)}.html#{file_name(card.id)}">{_text(card.id)}</a><br>'
        f"{_text(card.summary)}<br><small>{_text(card.output)}, {_text(card.license)}</small></div>\n"
        for entry, card in models
    )
    return (
        _HEAD.format(title="The zoo: plugins and models")
        + f"<h1>The zoo</h1><p>{len(entries)} plugins, {len(models)} models.\n"
        + f"<h2>Plugins</h2><table><tr><th>Plugin<th>What it does<th>Models<th>Install\n{rows}</table>\n"
        + f'<h2>Models</h2><div class="cards">\n{cards}</div>\n'
    )


def _plugin_page(entry: Entry, drawn: Mapping[str, str]) -> str:
    package, manifest = entry.package, entry.manifest
    rows = {
        "Install": f"<code>zoo install {_text(entry.name)}</code>",
        "Version": _text(package.version),
        "Licence of the code": _text(package.license),
        "Source": _link(package.source),
        "Homepage": _link(manifest.homepage),
        "Trains": _text(", ".join(trainer.name for trainer in manifest.trainers)),
        "Commands": _text(", ".join(f"zoo {command.name}" for command in manifest.commands)),
    }
    return (
        _HEAD.format(title=_text(entry.name))
        + f'<p><a href="index.html">The zoo</a><h1>{_text(entry.name)}</h1><p>{_text(manifest.summary)}\n'
        + _table(rows)
        + "".join(_model(card, drawn.get(card.id, "")) for card in manifest.models)
    )


def _model(card: ModelCard, sample: str) -> str:
    prompt = "" if card.prompt == "none" else ' "PROMPT"'
    rows = {
        "Run": f"<code>zoo run {_text(card.id)}{prompt}</code>",
        "Makes": _text(f"{card.output} ({card.family})"),
        "Licence": _text(card.license),
        "Parameters": f"{card.parameters:,}" if card.parameters else "",
        "Weights": _weights(card),
        "Paper": _paper(card.paper),
        "Homepage": _link(card.homepage),
        "Capabilities": _text(", ".join(card.capabilities)),
        "Trained on": _text(card.training.get("data", "")),
        "Quality": "<br>".join(map(_text, card.quality)),
    }
    options = "".join(map(_option, card.options.values()))
    table = f"<table><tr><th>Option<th>Value<th>Default<th>Description\n{options}</table>" if options else ""
    return (
        f'<h2 id="{file_name(card.id)}">{_text(card.id)}</h2><p>{_text(card.summary)}\n{sample}'
        f"{_table(rows)}<details><summary>Options</summary>{table}</details>\n"
    )


def _option(option: Option) -> str:
    default = "" if option.default is None else str(option.default)
    cells = (option.expects, default, option.description)
    return (
        f"<tr><td><code>{_text(option.flag)}</code>" + "".join(f"<td>{_text(cell)}" for cell in cells) + "\n"
    )


def _weights(card: ModelCard) -> str:
    weights = card.weights
    if isinstance(weights, HubWeights):
        at = f" at {weights.revision}" if weights.revision else ""
        return _link(f"https://huggingface.co/{weights.repo}") + _text(at)
    return "built into the plugin" if isinstance(weights, EmbeddedWeights) else ""


def _paper(paper: str | None) -> str:
    number = re.fullmatch(r"arXiv:([0-9.]+)", paper or "")
    return _link(f"https://arxiv.org/abs/{number[1]}") if number else _link(paper)


def _link(address: str | None) -> str:
    """Return a link; what is no http address stays text."""
    if not address or not re.fullmatch(r"https?://[!-~]+", address):
        return _text(address or "")
    return f'<a href="{_text(address)}" rel="noopener nofollow">{_text(address)}</a>'


def _page_of(entry: Entry) -> str:
    return f'<a href="{file_name(entry.name)}.html">{_text(entry.name)}</a>'


def _table(rows: Mapping[str, str]) -> str:
    return (
        "<table>"
        + "".join(f"<tr><th>{name}<td>{value}\n" for name, value in rows.items() if value)
        + "</table>"
    )


def _text(text: str, keep: str = "") -> str:
    return escape(visible(text, keep=keep))
