"""Render a conversation as the prompt of an instruct model, with its checkpoint's Jinja chat template.

A template comes with the weights and is untrusted: it runs in jinja2's sandbox, on plain data. It finds the
same extra functions as in transformers, which templates are written for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateSyntaxError
from jinja2.exceptions import SecurityError

from zoo_core import OptionError, WeightsError
from zoo_gpt.text.sandbox import BudgetError, Refused, TemplateEnvironment
from zoo_gpt.text.tokenizer import MAX_TEMPLATE, Tokenizer

QUOTES = ("\ufdd0", "\ufdd1")
"""Noncharacters around the number of a special token that a message spells out."""


def encode_chat(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the tokens of a conversation, up to where the model's answer begins.

    Special tokens that a message spells out are plain text: a message cannot end itself and begin another.

    Args:
        tokenizer: The tokenizer, which has the template and the special tokens.
        messages: As for :func:`render`.
    """
    special = sorted((tokenizer.show(id) for id in tokenizer.special), key=len, reverse=True)
    spelled = re.compile("|".join(map(re.escape, [*special, *QUOTES])))
    kept: list[str] = []

    def set_aside(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"{QUOTES[0]}{len(kept) - 1}{QUOTES[1]}"

    quoted = [
        {**message, "content": spelled.sub(set_aside, message["content"])}
        if isinstance(message, Mapping) and isinstance(message.get("content"), str)
        else message
        for message in messages
    ]
    # Odd parts are the numbers of what was set aside.
    parts = re.split(f"{QUOTES[0]}(\\d+){QUOTES[1]}", render(tokenizer, quoted))
    tokens: list[int] = []
    for index, part in enumerate(parts):
        text = kept[int(part)] if index % 2 else part
        tokens += tokenizer.encode(text, add_special=False, spelled_out=not index % 2)
    return tokens


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
    if len(tokenizer.chat_template) > MAX_TEMPLATE:
        raise WeightsError(
            f"The chat template of {source} has more than {MAX_TEMPLATE:,} characters.",
            "Do not use this checkpoint: its template may be malicious.",
        )
    _check(messages)
    environment = TemplateEnvironment()
    try:
        with environment.budget():
            template = environment.from_string(tokenizer.chat_template)
            return template.render(
                messages=[{k: v for k, v in message.items() if v is not None} for message in messages],
                tools=None,
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
