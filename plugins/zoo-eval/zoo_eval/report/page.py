"""Build the report as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape

from zoo_eval.bootstrap import Figure
from zoo_eval.evaluation import AUTHENTICITY, CLOSER, FRECHET, FRONTIER, KERNEL, LABEL_ACCURACY, LIMIT, RATIO
from zoo_eval.report.content import Report, Row, format_interval, format_value
from zoo_eval.report.svg import COLOURS, curves, dots, scatter

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #222 }
body { margin: 2em auto; max-width: 1320px; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: 3px 9px; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { vertical-align: bottom; white-space: normal }
small { color: #777; display: block } code { background: #f3f3f3; padding: 1px 4px }
svg { font: 11px system-ui, sans-serif; margin: 0 8px 8px 0; vertical-align: top }
svg .title { font-size: 13px; font-weight: 600 } svg .axis { stroke: #888 } svg .grid { stroke: #e6e6e6 }
.sheets { display: flex; flex-wrap: wrap; gap: 18px } figure { margin: 0 } figcaption { font-size: 12px }
img { image-rendering: pixelated; zoom: 1.3; display: block } blockquote { font: 13px Georgia, serif }
"""
SINGLE = (FRECHET, LIMIT, KERNEL, LABEL_ACCURACY, FRONTIER, RATIO, CLOSER, AUTHENTICITY)
"""Figures that have their own plot."""
CURVED = (FRECHET, "precision", "recall", LABEL_ACCURACY, CLOSER)


def page(report: Report) -> str:
    """Return the page."""
    title = f"Evaluation against {report.data}"
    size = f"{report.count:,} items" if report.count else "Mean and covariance"
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>',
            f"<h1>{escape(title)}</h1>",
            f"<p>{size} of data. Feature extractor: {escape(report.extractor)}.",
            f"<p><code>{escape(report.command)}</code>",
            _table(report),
            _likelihoods(report),
            "<h2>Comparison</h2>",
            *_plots(report),
            *_sweeps(report),
            *_sheets(report),
            "<h2>Methods</h2><ul>",
            *(f"<li>{escape(sentence)}" for sentence in report.conventions),
            "</ul></html>",
            "",
        ]
    )


def _table(report: Report) -> str:
    heads = "".join(f"<th>{escape(_shown(report, name))}" for name in report.names)
    rows = []
    for row in report.rows:
        cells = "".join(
            f"<td>{format_value(name, f.value)}<small>{format_interval(name, f)}</small>" if f else "<td>"
            for name, f in ((name, row.figures.get(name)) for name in report.names)
        )
        seconds = f"{row.seconds:.3g}" if row.seconds else ""
        rows.append(f"<tr><td>{escape(row.name)}{cells}<td>{row.count:,}<td>{seconds}")
    return f"<table><tr><th>{heads}<th>n<th>seconds per sample{''.join(rows)}</table>"


def _shown(report: Report, name: str) -> str:
    return name.replace(FRECHET, report.frechet)


def _likelihoods(report: Report) -> str:
    rows = [
        f"<tr><td>{escape(model)}<td>{name}<td>{format_value(name, f.value)}"
        f"<small>{format_interval(name, f)}</small>"
        for model, figures in report.likelihoods.items()
        for name, f in figures.items()
    ]
    return f"<h2>Likelihood of {escape(report.scored)}</h2><table>{''.join(rows)}</table>" if rows else ""


def _colour(report: Report, row: Row) -> str:
    """Return the row's colour: one per model, per folder and for held-out data."""
    owners = list(dict.fromkeys(each.model or each.name for each in report.rows))
    return COLOURS[owners.index(row.model or row.name) % len(COLOURS)]


def _plots(report: Report) -> Iterator[str]:
    rows = [(row, _colour(report, row)) for row in report.rows]
    for name in SINGLE:
        entries = [(row.name, colour, row.figures[name]) for row, colour in rows if name in row.figures]
        if entries:
            yield dots(_shown(report, name), entries)
    for across, up in (("recall", "precision"), ("coverage", "density")):
        both = [
            (row.name, colour, row.figures[across], row.figures[up])
            for row, colour in rows
            if across in row.figures
        ]
        if both:
            yield scatter(f"{up} and {across}", (across, up), both)
    costs = [(row, colour) for row, colour in rows if row.seconds]
    if costs:
        lines: dict[str, tuple[str, list[tuple[float, Figure]]]] = {}
        for row, colour in costs:
            points = lines.setdefault(row.model or row.name, (colour, []))[1]
            points.append((row.seconds or 0.0, row.figures[FRECHET]))
        names = ("seconds per sample", _shown(report, FRECHET))
        yield curves("quality against cost", names, lines, logarithmic=True)


def _sweeps(report: Report) -> Iterator[str]:
    options = list(dict.fromkeys(row.swept for row in report.rows if row.swept))
    for option in options:
        rows = [row for row in report.rows if row.swept == option]
        yield f"<h2>Sweep over {escape(option.replace('_', ' '))}</h2>"
        for name in CURVED:
            lines: dict[str, tuple[str, list[tuple[float, Figure]]]] = {}
            for row in rows:
                if name in row.figures and row.model:
                    points = lines.setdefault(row.model, (_colour(report, row), []))[1]
                    points.append((float(row.options[option]), row.figures[name]))
            if lines:
                shown = _shown(report, name)
                yield curves(shown, (option.replace("_", " "), shown), lines)


def _sheets(report: Report) -> Iterator[str]:
    if any(row.sheet for row in report.rows):
        yield '<h2>Samples</h2><div class="sheets">'
        yield from (_image(row.name, row.sheet) for row in report.rows if row.sheet)
        yield "</div>"
    if any(row.pairs for row in report.rows):
        yield "<h2>Samples closest to a training image (top), and that image (bottom)</h2>"
        yield '<div class="sheets">'
        yield from (_image(row.name, row.pairs) for row in report.rows if row.pairs)
        yield "</div>"
    if any(row.texts for row in report.rows):
        yield "<h2>Samples</h2>"
        for row in report.rows:
            yield from (f"<p>{escape(row.name)}<blockquote>{escape(text)}</blockquote>" for text in row.texts)


def _image(name: str, png: bytes) -> str:
    source = base64.b64encode(png).decode()
    image = f'<img src="data:image/png;base64,{source}" alt="">'
    return f"<figure>{image}<figcaption>{escape(name)}</figcaption></figure>"
