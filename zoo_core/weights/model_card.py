"""The page of a published model: README.md with the Hub's metadata, and its table for a manifest."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo_core.errors import visible
from zoo_core.manifest.cards import ModelCard
from zoo_core.weights.checkpoint import read_json_object

LIBRARY = "zoo-core"
RECORD, CURVE, PLOT = "training/settings.json", "training/curve.jsonl", "training/curve.png"
"""Paths in a model's folder: the settings of a training run, its metrics as JSON lines, and their plot."""

HUB_LICENSES = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigcode-openrail-m bigscience-openrail-m bsd bsd-2-clause
    bsd-3-clause bsl-1.0 c-uda cc cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-2.0
    creativeml-openrail-m ecl-2.0 epl-2.0 eupl-1.2 gemma gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0
    llama2 llama3 mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail openrail++ osl-3.0 pddl postgresql
    unlicense wtfpl zlib
    """.split()  # noqa: SIM905  # a list literal has a line for each
)
"""Values of ``license`` that the Hub knows; another licence is ``other``, with its name."""


@dataclass(frozen=True)
class About:
    """What a published model's page and table say beside its card."""

    repo: str
    """``ORG/NAME``."""
    license: str | None
    """None leaves it out."""
    summary: str
    """One sentence that says what it makes."""
    parameters: int | None
    """Their number, if it is known."""


@dataclass(frozen=True)
class Shown:
    """A sample on the page."""

    path: str
    """Its path in the repository."""
    caption: str
    text: str | None = None
    """The text, for a sample that is one."""


def model_card(card: ModelCard, about: About, folder: Path, samples: Sequence[Shown]) -> str:
    """Return the content of README.md.

    Args:
        card: What the zoo knows of the model: plugin, family, training, quality.
        about: The rest.
        folder: The model's folder, whose training record is used if there is one.
        samples: The samples to show.
    """
    prompt = ' "PROMPT"' if card.prompt != "none" else ""
    of_training = {**card.training, **_training(folder)}
    plot = f"![Metrics by step]({PLOT})" if (folder / PLOT).is_file() else ""
    table = {
        "Makes": f"{card.output} ({card.family})",
        "Parameters": f"{about.parameters:,}" if about.parameters else "",
        "Paper": card.paper or "",
        "Homepage": card.homepage or "",
    }
    parts = [
        _metadata(card, about.license),
        f"# {about.repo.partition('/')[2]}\n\n{_line(about.summary)}",
        f"## Use\n\n```sh\nzoo install {card.plugin}\nzoo run {about.repo}{prompt}\n```",
        _section("Samples", "\n".join(map(_sample, samples))),
        _section("Model", _table(table)),
        _section("Training", "\n\n".join(filter(None, [_table(of_training), plot]))),
        _section("Quality", "\n".join(f"- {_line(each)}" for each in card.quality)),
        _section("Cite", _fenced(card.cite, "bibtex") if card.cite else ""),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def manifest_table(card: ModelCard, about: About, commit: str, files: Mapping[str, tuple[int, str]]) -> str:
    """Return the ``[[model]]`` table for a plugin's ``zoo.toml``; ``files`` are sizes and sha256 by name."""
    values = {
        "id": re.sub(r"[^a-z0-9.-]+", "-", about.repo.partition("/")[2].lower()).strip("-."),
        "summary": about.summary,
        "family": card.family,
        "output": card.output,
        "license": about.license or "unknown",
        "parameters": about.parameters,
        "prompt": None if card.prompt == "none" else card.prompt,
        "capabilities": list(card.capabilities) or None,
    }
    lines = ["[[model]]", *(f"{key} = {_toml(value)}" for key, value in values.items() if value is not None)]
    lines += ["[model.weights]", f"repo = {_toml(about.repo)}", f"revision = {_toml(commit)}", "files = ["]
    for name, (size, digest) in files.items():
        lines.append(f"  {{ name = {_toml(name)}, bytes = {size}, sha256 = {_toml(digest)} }},")
    return "\n".join([*lines, "]"])


def _metadata(card: ModelCard, license: str | None) -> str:
    from huggingface_hub import ModelCardData

    known = license is None or license.lower() in HUB_LICENSES
    task = {
        "image": "text-to-image" if card.prompt != "none" else "unconditional-image-generation",
        "text": "text-generation",
    }.get(card.output)
    data = ModelCardData(
        license=license.lower() if license and known else "other" if license else None,
        license_name=None if known else license,
        library_name=LIBRARY,
        pipeline_tag=task,
        tags=[card.plugin, card.family],
    )
    return f"---\n{data.to_yaml()}\n---"


def _training(folder: Path) -> dict[str, str]:
    """Return what the record of ``zoo train`` says, in words: its settings and last metrics."""
    words: dict[str, str] = {}
    if (folder / RECORD).is_file():
        for key, value in read_json_object(folder / RECORD, str(folder)).items():
            inner = value if isinstance(value, dict) else {"": value}
            words |= {f"{key} {name}".strip(): str(each) for name, each in inner.items() if _is_plain(each)}
    if (folder / CURVE).is_file():
        last = (folder / CURVE).read_text(encoding="utf-8").splitlines()[-1:]
        for name, value in (json.loads(last[0]) if last else {}).items():
            if isinstance(value, float) and math.isfinite(value):
                words[f"last {name}"] = f"{value:.4g}"
    return words


def _is_plain(value: object) -> bool:
    """Return True for what is said in a cell of a table."""
    return value not in (None, "", [], False) and not isinstance(value, dict)


def _section(title: str, content: str) -> str:
    return f"## {title}\n\n{content}" if content else ""


def _table(rows: Mapping[str, str]) -> str:
    lines = [f"| {_line(name)} | {_line(value)} |" for name, value in rows.items() if value]
    return "\n".join(["| | |", "|---|---|", *lines]) if lines else ""


def _sample(sample: Shown) -> str:
    if sample.text is not None:
        return f"\n{_line(sample.caption)}:\n\n{_fenced(sample.text)}\n"
    if sample.path.endswith((".png", ".gif", ".apng", ".jpg", ".webp")):
        return f"![{_line(sample.caption)}]({sample.path})"
    return f"[{_line(sample.caption)}]({sample.path})"


def _fenced(text: str, language: str = "") -> str:
    """Return a block that the text cannot end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{visible(text.strip(), keep=chr(10))}\n{fence}"


def _line(text: str) -> str:
    """Return a text on one line in which nothing is Markdown or HTML."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", visible(" ".join(text.split())))


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
