"""Commands whose first argument is a model, and whose options are then also those of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from zoo_core.cli.console import write
from zoo_core.cli.flags import option_flag
from zoo_core.environment import Environment
from zoo_core.errors import OptionError, ZooError
from zoo_core.manifest.cards import LocalWeights, ModelCard, Option

_NAMED = 12
"""Most classes that the help of a command names; zoo show names more."""


class ModelCommand(click.Command):
    """A command whose options depend on its first argument, the model.

    Args:
        build: Returns the command for a model's name, this command and the words that were typed.
        flags: Returns further options for these words, which come before the model's.
    """

    def __init__(
        self,
        *args: Any,
        build: Callable[[str, click.Command, Sequence[str]], click.Command],
        flags: Callable[[Sequence[str]], Sequence[click.Parameter]] = lambda words: (),
        **extra: Any,
    ) -> None:
        super().__init__(*args, **extra)
        self.build, self.flags = build, flags

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Find the model among the arguments, then parse them with the model's own options."""
        name = self._model_name(list(args), parent)
        if extra.get("resilient_parsing") and name is not None:
            with suppress(ZooError):  # completion: the words may not be valid yet
                return self.build(name, self, args).make_context(info_name, args, parent, **extra)
            return super().make_context(info_name, args, parent, **extra)
        if name is None:
            try:
                return super().make_context(info_name, args, parent, **extra)
            except click.NoSuchOption as error:
                raise click.UsageError(
                    f"No such option {error.option_name} before the model; "
                    f"give a model's own options after it: zoo {self.name} MODEL {error.option_name}",
                    error.ctx,
                ) from error
        return self.build(name, self, args).make_context(info_name, args, parent, **extra)

    def _model_name(self, args: list[str], parent: click.Context | None) -> str | None:
        """Return the first argument that is neither an option of the command nor its value, if any."""
        finder = click.Command(self.name, params=[*self.params, *self.flags(args)], add_help_option=False)
        ctx = click.Context(
            finder, parent, resilient_parsing=True, ignore_unknown_options=True, allow_interspersed_args=False
        )
        values, _, _ = finder.make_parser(ctx).parse_args(args)
        name = values.get("model")
        return name if isinstance(name, str) and not name.startswith("-") else None


def card_of(name: str) -> ModelCard:
    """Return the card of a model; say so if a name that may mean a Hub repository means a local folder."""
    from zoo_core.weights import parse_hub_name

    card = Environment.current().resolve(name)
    if isinstance(card.weights, LocalWeights) and (hub_name := parse_hub_name(name)):
        write(f"{name} is {card.id}; the repository on the Hub is {hub_name}.", err=True)
    return card


def capable_card(name: str, capability: str, purpose: str) -> ModelCard:
    """Return the card of a model that has a capability, without importing its plugin.

    Args:
        name: What the user calls the model.
        capability: ``score``, ``edit``, ….
        purpose: What the command does with it, for the error: "MODEL cannot …".

    Raises:
        OptionError: It does not have it; the remedy finds models that have.
    """
    card = card_of(name)
    if capability not in card.capabilities:
        models = Environment.current().catalog.models.values()
        some = any(capability in each.capabilities for each in models)
        raise OptionError(
            f"{card.id} cannot {purpose}{'' if some else ', and no installed model can'}.",
            f"Find one that can: zoo list {'' if some else '--all '}--capability {capability}",
        )
    return card


def command_of(
    name: str,
    card: ModelCard,
    params: Sequence[click.Parameter],
    options: Mapping[str, Option],
    run: Callable[..., None],
    *,
    help: str,
) -> click.Command:
    """Return a command for one model.

    Args:
        name: What the user calls the model.
        card: Its card.
        params: The arguments and options of the command for any model.
        options: The model's options to add, but for those whose names the command has itself.
        run: Called with the model's options that were given, and the command's own as keywords.
        help: The first line of its help.
    """
    from zoo_core.weights.labels import OPTION, labels_of

    labels = labels_of(card)
    accepts = {OPTION: labels.in_words(_NAMED)} if labels else {}

    taken = {parameter.name for parameter in params}
    options = {option: each for option, each in options.items() if option not in taken}

    def callback(model: str, **values: Any) -> None:
        given = {option: values.pop(option) for option in options}
        run({option: value for option, value in given.items() if value is not None}, **values)

    return click.Command(
        None,
        params=[*params, *(option_flag(option, accepts.get(option.name)) for option in options.values())],
        callback=callback,
        help=help,
        epilog=f"See its source, licence and citation: zoo show {name}",
    )
