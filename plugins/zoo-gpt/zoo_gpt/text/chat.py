"""Render a conversation as the prompt of an instruct model, with its checkpoint's Jinja chat template.

A template comes with the weights and is untrusted: it runs in jinja2's sandbox, on plain data. It finds the
same extra functions as in transformers, which templates are written for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from zoo_core import OptionError, WeightsError
from zoo_gpt.text.tokenizer import Tokenizer


def render(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True
) -> str:
    """Return a conversation as text; encode it with ``add_special=False``.

    Args:
        tokenizer: The tokenizer, which has the template and the special tokens.
        messages: The messages in order, each with a ``role`` (``system``, ``user``, ``assistant``) and
            usually ``content``. Keys whose value is None count as absent.
        add_generation_prompt: End the text where the model's answer begins.

    Raises:
        OptionError: The model has no template, or the template refuses these messages.
        WeightsError: The template is broken, or violates the sandbox.
    """
    source = tokenizer.source
    if tokenizer.chat_template is None:
        raise OptionError(
            f"{source} is not a chat model: it has no chat template.",
            "Give it a text to continue, without --chat, or use an instruct model.",
        )
    _check(messages)
    try:
        return (
            _environment()
            .from_string(tokenizer.chat_template)
            .render(
                messages=[{k: v for k, v in message.items() if v is not None} for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **tokenizer.roles,
            )
        )
    except _Refused as refusal:
        raise OptionError(
            f"The chat template of {source} refuses the messages: {_one_line(refusal)}.",
            "Give the messages that the model expects; for most, user and assistant must alternate.",
        ) from refusal
    except SecurityError as error:
        raise WeightsError(
            f"The chat template of {source} violates the sandbox: {_one_line(error)}.",
            "Do not use this checkpoint: its template may be malicious.",
        ) from error
    except TemplateSyntaxError as error:
        raise WeightsError(
            f"The chat template of {source} is not valid Jinja, line {error.lineno}: "
            f"{_one_line(error.message)}.",
            "Download the checkpoint again.",
        ) from error
    except Exception as error:  # a template is a program and may raise anything
        raise WeightsError(
            f"The chat template of {source} fails: {type(error).__name__}: {_one_line(error)}.",
            "Give each message a role and a text as content, or download the checkpoint again.",
        ) from error


class _Refused(TemplateError):
    """Raised by ``raise_exception`` in a template."""


class _GenerationBlock(Extension):
    """Render ``{% generation %} … {% endgeneration %}``, which marks answers for training, as plain text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationBlock]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    return environment


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON as it is; Jinja's own filter escapes it for HTML, ``<`` as ``\\u003c``."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> NoReturn:
    raise _Refused(message)


def _check(messages: Sequence[Mapping[str, Any]]) -> None:
    if not messages:
        raise OptionError("There are no messages.", "Give at least one message.")
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise OptionError(
                f"Message {number} has no role.", 'Write messages as {"role": "user", "content": "…"}.'
            )


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split()).removesuffix(".")
