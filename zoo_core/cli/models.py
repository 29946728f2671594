"""``zoo list``, ``zoo show`` and ``zoo search``: model cards, read from manifests alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import click

from zoo_core.catalog import Catalog
from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import (
    count_of,
    json_option,
    megabytes,
    print_fields,
    print_json,
    print_json_list,
    print_problem,
    print_table,
    write,
)
from zoo_core.environment import Environment
from zoo_core.manifest.cards import (
    CAPABILITIES,
    OUTPUTS,
    EmbeddedWeights,
    HubWeights,
    LocalWeights,
    ModelCard,
    Option,
)

_LABELS = 100
"""Most labels whose meaning zoo show prints."""


@click.command("list")
@click.argument("pattern", required=False)
@click.option("--all", "everything", is_flag=True, help="Include models whose plugin is not installed.")
@click.option(
    "--output",
    type=click.Choice(OUTPUTS),
    metavar="TYPE",
    help=f"Only models that make this: {', '.join(OUTPUTS)}.",
)
@click.option("--plugin", metavar="NAME", help="Only models of this plugin.")
@click.option("--built-in", is_flag=True, help="Only models whose weights are in their plugin: no download.")
@click.option(
    "--capability", type=click.Choice(CAPABILITIES), help="Only models with this capability, such as edit."
)
@json_option
def list_models(
    pattern: str | None,
    everything: bool,
    output: str | None,
    plugin: str | None,
    built_in: bool,
    capability: str | None,
    as_json: bool,
) -> None:
    """List the models that can be run.

    PATTERN is a glob of names such as '*celeba*', or a word that occurs in a name, summary, family or plugin.
    """
    catalog = Environment.current().catalog

    def matching(everything: bool) -> list[ModelCard]:
        return [
            card
            for card in catalog.match(pattern, everything=everything, output=output, plugin=plugin)
            if (not built_in or isinstance(card.weights, EmbeddedWeights))
            and (capability is None or capability in card.capabilities)
        ]

    cards = matching(everything)
    if not cards and not as_json:
        known = 0 if everything else len(matching(True))
        others = f", but {known} whose plugin is not installed" if known else ""
        click.echo(f"No installed model matches{others}.\nSee all known models: zoo list --all", err=True)
    _print_cards(cards, catalog, as_json)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@json_option
def search(words: tuple[str, ...], as_json: bool) -> None:
    """Search all known models, installed or not.

    Every WORD must occur in a model's name, summary, family, output or plugin. The last column names the
    installed plugin, or the registry that lists the model.
    """
    from zoo_core.registry import refresh

    for problem in refresh():
        print_problem(problem)
    catalog = Environment.current().catalog
    cards = catalog.search(words)
    if not cards and not as_json:
        click.echo("No known model matches.\nSee all known models: zoo list --all", err=True)
    _print_cards(cards, catalog, as_json, origins=True)


@click.command()
@click.argument("model", shell_complete=complete_models)
@json_option
def show(model: str, as_json: bool) -> None:
    """Show a model's card: source, licence, options.

    MODEL is a local folder, an id or alias, or a repository on the Hub: ORG/REPO[@REVISION],
    hf:ORG/REPO[@REVISION] or its address.
    """
    from zoo_core.weights.labels import OPTION, labels_of

    environment = Environment.current()
    catalog = environment.catalog
    card = catalog.known_or_installed(model) or environment.resolve(model)
    installed = card.plugin in {plugin.name for plugin in catalog.plugins}
    labels = labels_of(card)
    if as_json:
        known = {"labels": _as_data(labels)} if labels else {}
        print_json(card_as_json(card, installed=installed) | known)
        return
    fields = {
        "Model": card.id + (f" (also {', '.join(card.aliases)})" if card.aliases else ""),
        "Summary": card.summary,
        "Makes": f"{card.output} ({card.family})",
        "Licence": card.license,
        "Paper": card.paper,
        "Homepage": card.homepage,
        "Parameters": count_of(card.parameters) if card.parameters else None,
        "Weights": _weights_in_words(card),
        "Plugin": card.plugin if installed else f"{card.plugin}, not installed: zoo install {card.plugin}",
        "Listed in": None if installed else f"registry {catalog.entries[card.plugin].registry}",
        "Labels": labels.in_words(_LABELS) if labels else None,
        "Capabilities": ", ".join(card.capabilities) or None,
        "Trained": "\n".join(f"{key}: {value}" for key, value in card.training.items()) or None,
        "Quality": "\n".join(card.quality) or None,
        "Cite": card.cite.strip() if card.cite else None,
    }
    print_fields({name: value for name, value in fields.items() if value})
    if card.options:
        click.echo()
        accepts = {OPTION: labels.in_words(0)} if labels else {}
        rows = [
            (o.flag, accepts.get(o.name, o.expects), _default(o), o.description)
            for o in card.options.values()
        ]
        print_table(("Option", "Value", "Default", "Description"), rows)


def card_as_json(card: ModelCard, *, installed: bool) -> dict[str, Any]:
    """Return a card as plain data, with the source of its weights."""
    value: dict[str, Any] = _as_data(card)
    weights = card.weights
    kind = {EmbeddedWeights: "embedded", HubWeights: "hub", LocalWeights: "local"}[type(weights)]
    value["weights"] = {"from": kind, **{k: v for k, v in value["weights"].items() if k != "folder"}}
    if isinstance(weights, LocalWeights):
        value["weights"]["folder"] = str(weights.folder)
    value["example"] = str(card.example) if card.example else None
    value["installed"] = installed
    return value


def _as_data(value: Any) -> Any:
    """Convert like :func:`dataclasses.asdict`, but without copying strings."""
    if is_dataclass(value):
        return {name: _as_data(item) for name, item in vars(value).items()}
    if isinstance(value, Mapping):
        return {name: _as_data(item) for name, item in value.items()}
    return [_as_data(item) for item in value] if isinstance(value, (tuple, list)) else value


def _print_cards(
    cards: Sequence[ModelCard], catalog: Catalog, as_json: bool, *, origins: bool = False
) -> None:
    for plugin in catalog.broken:
        write(f"{plugin.name} is broken, and its models are missing here. See why: zoo doctor", err=True)
    if as_json:
        print_json_list(
            card_as_json(card, installed=card.id in catalog.models)
            | ({"registry": _registry(card, catalog)} if origins else {})
            for card in cards
        )
        return
    from zoo_core.weights import cached_among

    here = cached_among(cards)
    headings = ["Model", "Makes", "Family", "Size", "Licence", "Weights", "Summary"]
    rows = [
        [
            card.id,
            card.output,
            card.family,
            count_of(card.parameters) if card.parameters else "",
            card.license,
            _where(card, installed=card.id in catalog.models, here=card.id in here),
            card.summary,
        ]
        for card in cards
    ]
    if origins:
        headings.append("From")
        for row, card in zip(rows, cards, strict=True):
            row.append(_registry(card, catalog) or card.plugin)
    narrow = ("Licence", "Family", "Size", "Makes", "From", "Weights")
    print_table(headings, rows, drop=[each for each in narrow if each in headings])


def _registry(card: ModelCard, catalog: Catalog) -> str | None:
    """Return the registry that lists a card; None for a card of an installed plugin."""
    return None if card.id in catalog.models else catalog.entries[card.plugin].registry


def _where(card: ModelCard, *, installed: bool, here: bool) -> str:
    """Say in a word or two where the weights are."""
    if not installed:
        return f"zoo install {card.plugin}"
    if isinstance(card.weights, HubWeights):
        return "downloaded" if here else "on the Hub"
    return "built in"


def _weights_in_words(card: ModelCard) -> str:
    weights = card.weights
    if isinstance(weights, EmbeddedWeights):
        return "built into the plugin"
    if isinstance(weights, LocalWeights):
        return str(weights.folder)
    pin = f"at commit {weights.revision}" if weights.revision else "not pinned; the first download pins it"
    lines = [f"huggingface.co/{weights.repo}, {pin}"]
    for file in weights.files:
        size = f", {megabytes(file.bytes)}" if file.bytes is not None else ""
        digest = f", sha256 {file.sha256[:12]}…" if file.sha256 else ""
        lines.append(f"{file.name}{size}{digest}")
    return "\n".join(lines)


def _default(option: Option) -> str:
    if option.default is None:
        return ""
    return str(option.default).lower() if isinstance(option.default, bool) else f"{option.default}"
