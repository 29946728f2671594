"""``zoo chat``: a conversation with a model, which is saved so that ``zoo replay`` reproduces it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import loading_options, print_problem, say, working, write
from zoo_core.cli.model_command import ModelCommand, card_of, command_of
from zoo_core.environment import Environment
from zoo_core.errors import OptionError, ZooError
from zoo_core.manifest.cards import ModelCard

ANSWER_TOKENS = 1024
"""``max_tokens`` of an answer, unless it is given."""
NOT_IN_A_CHAT = ("chat", "template")
"""Options about how one text becomes a prompt."""


@click.command(cls=ModelCommand, build=lambda *given: _command_for(*given))
@click.argument("model", shell_complete=complete_models)
@click.option("--system", metavar="TEXT", help="Instructions to the model, before the first message.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    help="Seed of the first answer; the others count up. [default: random]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Save every answer in a .jsonl file; zoo replay reproduces them.",
)
@click.option("--resume", is_flag=True, help="Continue the conversation in the output.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@loading_options
def chat(**values: Any) -> None:
    """Talk with a model.

    MODEL is a chat model, named as for zoo run. /help lists the commands of the conversation; Ctrl-C stops an
    answer; Ctrl-D ends. If the input is no terminal, each line is a message. See a model's own options: zoo
    chat MODEL --help.
    """
    raise click.UsageError("Name a model.", click.get_current_context())


def _command_for(name: str, base: click.Command, words: Sequence[str]) -> click.Command:
    card = card_of(name)
    own = {param.name for param in base.params}
    options = {each: option for each, option in card.options.items() if each not in (*own, *NOT_IN_A_CHAT)}
    return command_of(
        name,
        card,
        base.params,
        options,
        lambda given, **values: _chat(card, given, **values),
        help=f"Talk with {card.id}: {card.summary}",
    )


def _chat(
    card: ModelCard,
    options: Mapping[str, Any],
    *,
    system: str | None,
    seed: int | None,
    output: str | None,
    resume: bool,
    force: bool,
    device: str,
    dtype: str,
    adapter: str | None,
) -> None:
    from zoo_core.cli.chat_input import MessageReader
    from zoo_core.cli.conversation import Conversation

    _require_chat(card)
    if resume and not output:
        raise OptionError("--resume needs the file of a conversation.", "Add -o FILE.jsonl.")
    if "max_tokens" in card.options:
        options = {"max_tokens": ANSWER_TOKENS, **options}
    with working() as announce:
        model = Environment.current().load(
            card, device=device, dtype=dtype, adapter=adapter, announce=announce
        )
    _require_chat(model.card)
    talk = Conversation(model, options, system=system, seed=seed)
    talk.check()
    if output:
        talk.open(Path(output), resume=resume, overwrite=force)
    reader = MessageReader()
    if reader.interactive:
        say(f"{card.id} in {model.dtype} on {model.device.type}. /help lists the commands; Ctrl-D ends.")
    try:
        while (message := reader.read()) is not None:
            try:
                if not _command(message, talk):
                    _answer(talk, message.strip("\n"), interactive=reader.interactive)
            except ZooError as error:
                if not reader.interactive:
                    raise
                print_problem(error)
            except _Quit:
                break
    finally:
        talk.close()


def _require_chat(card: ModelCard) -> None:
    if "chat" not in card.capabilities:
        raise ZooError(
            f"{card.id} is not a chat model{': it has no chat template' * (card.output == 'text')}.",
            f"Use an instruct model, or zoo run {card.id}.",
        )


def _answer(talk: Any, message: str, *, interactive: bool) -> None:
    from zoo_core.cli.texts import stream

    if not message.strip():
        return
    if not interactive:
        write_text(talk.ask(message).text)
        return
    try:
        with stream() as on_step:
            talk.ask(message, on_step)
    except KeyboardInterrupt:
        say("Stopped. What was said so far is kept." if talk.keep_interrupted() else "Stopped.")
    say("")


def write_text(text: str) -> None:
    """Print an answer: as it is into a file or pipe, made visible on a terminal."""
    if sys.stdout.isatty():
        from zoo_core.errors import visible

        text = visible(text, keep="\n\t")
    click.echo(text.encode("utf-8", "surrogatepass"))


class _Quit(Exception):
    """The user leaves."""


def _command(line: str, talk: Any) -> bool:
    """Run a line that begins with a slash; return False if it is a message."""
    found = re.fullmatch(r"/([a-z?]*)(?:\s+(.*))?", line.strip())
    if found is None:
        return False
    name, rest = found[1], (found[2] or "").strip()
    if name not in COMMANDS:
        raise ZooError(f"There is no command /{name} in a conversation.", "See: /help")
    COMMANDS[name][1](talk, rest)
    return True


def _help(talk: Any, rest: str) -> None:
    for name, (text, _) in COMMANDS.items():
        write(f"  /{name:<6} {text}", err=True)
    write('  """     Begin and end a message of several lines; on a terminal also Esc, Enter.', err=True)


def _quit(talk: Any, rest: str) -> None:
    raise _Quit


def _save(talk: Any, rest: str) -> None:
    if not rest:
        raise OptionError("/save needs a file.", "Write: /save talk.jsonl")
    path = Path(rest).expanduser()
    count = talk.save(path)
    write(f"{path} has {count} answers. Reproduce them: zoo replay {path}", err=True)


def _seed(talk: Any, rest: str) -> None:
    if rest:
        if not rest.isdecimal():
            raise OptionError(f"{rest!r} is not a seed.", "Write a whole number: /seed 7")
        talk.set_seed(int(rest))
    write(f"The next answer has the seed {talk.seed}.", err=True)


def _clear(talk: Any, rest: str) -> None:
    talk.clear()
    write("The model has forgotten the conversation; its answers can still be saved.", err=True)


COMMANDS: Mapping[str, tuple[str, Callable[[Any, str], None]]] = {
    "help": ("List the commands.", _help),
    "save": ("Save the answers: /save talk.jsonl. zoo replay reproduces them.", _save),
    "seed": ("Show the seed of the next answer, or set it: /seed 7.", _seed),
    "clear": ("Begin a new conversation.", _clear),
    "quit": ("End, as Ctrl-D does.", _quit),
}
"""The commands of a conversation: help, and what they do with the rest of the line."""
