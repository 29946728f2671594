"""Render a conversation as the prompt of an instruct model, with its checkpoint's Jinja chat template.

A template comes with the weights and is untrusted: it runs in jinja2's sandbox, on plain data. It finds the
same extra functions as in transformers, which templates are written for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import TemplateSyntaxError
from jinja2.exceptions import SecurityError

from zoo_core import OptionError, WeightsError
from zoo_gpt.text.sandbox import BudgetError, Refused, TemplateEnvironment
from zoo_gpt.text.tokenizer import MAX_TEMPLATE, Tokenizer

QUOTES = ("\ufdd0", "\ufdd1")
"""Noncharacters around the number of a special token that a message spells out."""


def encode_chat(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> list[int]:
    """Return the tokens of a conversation, up to where the model's answer begins.

    Special tokens that a message or a tool spells out are plain text: a message cannot end itself and begin
    another.

    Args:
        tokenizer: The tokenizer, which has the template and the special tokens.
        messages: As for :func:`render`.
        tools: As for :func:`render`.
    """
    special = sorted((tokenizer.show(id) for id in tokenizer.special), key=len, reverse=True)
    spelled = re.compile("|".join(map(re.escape, [*special, *QUOTES])))
    kept: list[str] = []

    def set_aside(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"{QUOTES[0]}{len(kept) - 1}{QUOTES[1]}"

    def quote(text: str) -> str:
        return spelled.sub(set_aside, text)

    text = render(tokenizer, _each_text(messages, quote), _each_text(tools, quote))
    # Odd parts are the numbers of what was set aside.
    parts = re.split(f"{QUOTES[0]}(\\d+){QUOTES[1]}", text)
    tokens: list[int] = []
    for index, part in enumerate(parts):
        text = kept[int(part)] if index % 2 else part
        tokens += tokenizer.encode(text, add_special=False, spelled_out=not index % 2)
    return tokens


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with every text in it changed, keys included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change) for item in value]
    return value


def render(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
) -> str:
    """Return a conversation as text; encode it with ``add_special=False``.

    Args:
        tokenizer: The tokenizer, which has the template and the special tokens.
        messages: The messages in order, each with a ``role`` (``system``, ``user``, ``assistant``, ``tool``)
            and usually ``content``. Keys whose value is None count as absent.
        tools: Functions that the model may call, as JSON schemas; a template named ``tool_use`` is preferred.
        add_generation_prompt: End the text where the model's answer begins.

    Raises:
        OptionError: The model has no template, or the template refuses these messages.
        WeightsError: The template is broken, or violates the sandbox.
    """
    source = tokenizer.source
    chosen = (tokenizer.tool_template if tools else None) or tokenizer.chat_template
    if chosen is None:
        raise OptionError(
            f"{source} is not a chat model: it has no chat template.",
            "Give it a text to continue, without --chat, or use an instruct model.",
        )
    if len(chosen) > MAX_TEMPLATE:
        raise WeightsError(
            f"The chat template of {source} has more than {MAX_TEMPLATE:,} characters.",
            "Do not use this checkpoint: its template may be malicious.",
        )
    _check(messages)
    environment = TemplateEnvironment()
    try:
        with environment.budget():
            template = environment.from_string(chosen)
            return template.render(
                messages=[_as_templates_expect(message) for message in messages],
                tools=tools or None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **tokenizer.roles,
            )
    except BudgetError as error:
        raise WeightsError(
            f"The chat template of {source} {error}.",
            "Do not use this checkpoint: its template may be malicious.",
        ) from None
    except Refused as refusal:
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


def _as_templates_expect(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without absent keys, the arguments of its calls as objects, not as their JSON."""
    kept = {key: value for key, value in message.items() if value is not None}
    calls = kept.get("tool_calls")
    if isinstance(calls, list):
        kept["tool_calls"] = [_with_arguments(call) for call in calls]
    return kept


def _with_arguments(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}
    except (ValueError, RecursionError):
        return call


def read_tools(text: str) -> list[dict[str, Any]]:
    """Read the definitions of functions that a model may call: a JSON list, as in OpenAI's API.

    Raises:
        OptionError: It is not a list of JSON objects.
    """
    try:
        tools = json.loads(text)
    except (ValueError, RecursionError):
        tools = None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise OptionError(
            "--tools: not a JSON list of functions.",
            'Write it like [{"type": "function", "function": {"name": "add", "parameters": {…}}}].',
        )
    return tools


def _check(messages: Sequence[Mapping[str, Any]]) -> None:
    if not messages:
        raise OptionError("There are no messages.", "Give at least one message.")
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise OptionError(
                f"Message {number} has no role.", 'Write messages as {"role": "user", "content": "…"}.'
            )


def _one_line(problem: object) -> str:
    return " ".join(str(problem)[:300].split()).removesuffix(".")
