"""The gallery as HTML: samples on their way and done, two runs side by side, and a sample's record.

Texts, prompts and names come from models and files of strangers: everything is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from itertools import zip_longest

from zoo_serve.problems import answer
from zoo_serve.samples import StoredSample

from zoo_core import ZooError
from zoo_studio.drawing import Drawing, Tile
from zoo_studio.tokens import coloured

PIXELATED = 128
"""Images with fewer columns are shown with visible pixels."""


def status_html(drawing: Drawing, *, done: bool) -> str:
    """Return the bar of progress with the time left, and when all is done, how long it took."""
    if done:
        count = len(drawing.samples)
        return _status(f"{count} sample{'' if count == 1 else 's'} of {drawing.model}.")
    left = drawing.seconds_left
    waiting = "Loading the model, or waiting for others …" if drawing.share == 0 else "Drawing …"
    said = waiting if left is None else f"Drawing: about {_seconds(left)} left"
    return f'{_status(said)}<progress class="zoo-progress" max="1" value="{drawing.share:.3f}"></progress>'


def said_html(text: str) -> str:
    """Return a sentence for the place of the status."""
    return _status(text)


def error_html(error: Exception) -> str:
    """Return what went wrong and what to do; what was not expected is only in the log."""
    if not isinstance(error, ZooError):
        answer(error)  # for the log
        error = ZooError("The server failed.", "Its log has the details.")
    return (
        f'<div class="zoo-error" role="alert"><strong>{escape(error.message)}</strong>'
        f"<p>{escape(error.remedy)}</p></div>"
    )


def gallery_html(
    drawing: Drawing | None, earlier: Sequence[StoredSample] = (), pinned: Drawing | None = None
) -> str:
    """Return the samples of a run, those made before it, and beside them a pinned run, seed by seed."""
    parts = []
    if drawing is not None and pinned is not None:
        parts.append(_side_by_side(pinned, drawing))
    elif drawing is not None:
        parts.append(_grid(drawing.tiles))
    if earlier:
        parts.append(f"<h3>Earlier</h3>{_grid([Tile(each.record.seed, sample=each) for each in earlier])}")
    if samples := [*(drawing.samples if drawing else ()), *earlier]:
        ids = ",".join(sample.id for sample in samples)
        parts.append(f'<p><a href="/studio/share?ids={ids}" download="gallery.html">Save as one page</a></p>')
    return "".join(parts) or '<p class="zoo-hint">What you draw appears here.</p>'


def sample_html(sample: StoredSample) -> str:
    """Return one sample at full size with its record."""
    record = sample.record
    rows = [("Model", record.model), ("Seed", str(record.seed))]
    if record.prompt is not None:
        rows.append(("Prompt", record.prompt_text))
    rows += [(name, str(value)) for name, value in record.options.items() if value is not None]
    rows += [(f"{name} (reported)", _short(value)) for name, value in record.metadata.items()]
    rows.append(("Computed in", f"{record.dtype} on {record.device}"))
    table = "".join(f"<tr><th>{escape(name)}<td>{escape(value)}" for name, value in rows)
    body = _body(Tile(record.seed, sample=sample))
    return f'{body}{_download(sample)}<table class="zoo-record">{table}</table>'


def _grid(tiles: Sequence[Tile]) -> str:
    kind = "zoo-texts" if any(_is_text(tile) for tile in tiles) else "zoo-images"
    return f'<div class="{kind}">{"".join(map(_figure, tiles))}</div>'


def _side_by_side(left: Drawing, right: Drawing) -> str:
    cells = [f"<h3>{escape(_title(each, other))}</h3>" for each, other in ((left, right), (right, left))]
    for pair in zip_longest(left.tiles, right.tiles):
        cells += [_figure(tile) if tile else "<div></div>" for tile in pair]
    return f'<div class="zoo-pairs">{"".join(cells)}</div>'


def _title(drawing: Drawing, other: Drawing) -> str:
    """Return the model of a run, and the options in which it differs from the other."""
    given = [
        f"{name} {value}"
        for name, value in drawing.options.items()
        if value is not None and value != other.options.get(name)
    ]
    return ", ".join([drawing.model, *given]) if drawing.model == other.model else drawing.model


def _figure(tile: Tile) -> str:
    caption = f"seed {tile.seed}"
    if tile.sample is None:
        bar = f'<progress max="1" value="{tile.share:.3f}" aria-label="{caption}"></progress>'
        return f"<figure>{_body(tile)}<figcaption>{caption}{bar}</figcaption></figure>"
    return (
        f'<figure><button type="button" class="zoo-sample" data-id="{tile.sample.id}" '
        f'aria-label="Sample with {caption}: show its record">{_body(tile)}</button>'
        f"<figcaption>{caption} {_download(tile.sample)}</figcaption></figure>"
    )


def _body(tile: Tile) -> str:
    """Return the image or the text of a tile."""
    sample = tile.sample
    if sample is not None and not sample.png:
        return f'<div class="zoo-text">{coloured(sample)}</div>'
    if sample is None and tile.preview is None:
        return (
            f'<div class="zoo-text">{escape(tile.text)}</div>'
            if tile.text
            else '<div class="zoo-blank"></div>'
        )
    source = tile.preview if sample is None else sample.note()["file"]
    kind = ' class="zoo-pixels"' if sample and _columns(sample.png) <= PIXELATED else ""
    return f'<img src="{source}" alt="Sample with seed {tile.seed}"{kind}>'


def _download(sample: StoredSample) -> str:
    model = "".join(c if c.isalnum() else "-" for c in sample.record.model)
    name, file = f"{model}-{sample.record.seed}{sample.suffix}", sample.note()["file"]
    title = "The file, with its record"
    return f'<a class="zoo-download" href="{file}" download="{name}" title="{title}">Download</a>'


def _is_text(tile: Tile) -> bool:
    return bool(tile.text) or (tile.sample is not None and not tile.sample.png)


def _columns(png: bytes) -> int:
    """Return the width of a PNG, of its first chunk."""
    return int.from_bytes(png[16:20], "big")


def _status(text: str) -> str:
    return f'<p class="zoo-status" role="status">{escape(text)}</p>'


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"
