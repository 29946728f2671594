"""The form of the chosen model on the page, and what its buttons do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio

from zoo_core import ModelCard
from zoo_studio.cards import heading_html
from zoo_studio.conversation import answers, messages
from zoo_studio.form import Filled, component_of, ordered, seed_of, value_of
from zoo_studio.gallery import error_html, said_html
from zoo_studio.mask import address_of, is_drawn
from zoo_studio.results import Results, visitor_of
from zoo_studio.tokens import bars_html, next_tokens


def add_form(results: Results, filled: Filled) -> None:
    """Add the components of a model, filled in, and connect them with the results."""
    form = _Form(results, filled)
    form.add_buttons()
    if "chat" in form.card.capabilities:
        form.add_chat()
    form.add_options()
    form.connect()


class _Form:
    def __init__(self, results: Results, filled: Filled) -> None:
        self.results, self.studio, self.filled = results, results.studio, filled
        self.card: ModelCard = self.studio.state.models.find(filled.model)
        self.shown, self.more = ordered(self.card)

    def add_buttons(self) -> None:
        card, filled = self.card, self.filled
        gradio.HTML(heading_html(filled.model, card))
        text = filled.prompt if isinstance(filled.prompt, str) else ""
        self.prompt = gradio.Textbox(
            text, label="Prompt", lines=3, interactive=True, visible=card.prompt != "none"
        )
        with gradio.Row():
            self.draw = gradio.Button("Draw", variant="primary", min_width=90, elem_id="zoo-draw")
            self.stop = gradio.Button("Stop", min_width=90)
            self.peek = gradio.Button("Next token", min_width=90, visible="next-token" in card.capabilities)
        with gradio.Row():
            self.seed = gradio.Textbox(
                "" if filled.seed is None else str(filled.seed),
                label="Seed",
                info="The same seed gives the same sample.",
                placeholder="random",
                min_width=200,  # on a phone the two are one below the other
                interactive=True,
            )
            self.n = gradio.Slider(
                1,
                self.studio.state.config.limits.samples,
                filled.n,
                step=1,
                label="Samples",
                info="Their seeds count up.",
                min_width=200,
                interactive=True,
            )

    def add_options(self) -> None:
        card, given = self.card, self.filled.options
        self.fields = {option.name: component_of(card, option, given) for option in self.shown}
        if self.more:
            is_given = any(given.get(option.name) not in (None, option.default) for option in self.more)
            with gradio.Accordion(f"{len(self.more)} more options", open=is_given):
                self.fields |= {option.name: component_of(card, option, given) for option in self.more}

    def add_chat(self) -> None:
        begun: Any = [] if isinstance(self.filled.prompt, str) else messages(self.filled.prompt or ())
        with gradio.Accordion("Chat", open=True, elem_id="zoo-chat"):
            self.chat = gradio.Chatbot(begun, show_label=False, height=360, buttons=["copy_all"])
            self.message = gradio.Textbox(
                label="Message",
                show_label=False,
                placeholder="Message",
                interactive=True,
                submit_btn=True,
            )

    def connect(self) -> None:
        results = self.results
        gradio.on(
            [self.draw.click, self.prompt.submit, self.seed.submit],
            self._on_draw,
            [*results.kept, self.prompt, self.seed, self.n, *self.fields.values()],
            results.outputs,
            show_progress="hidden",
        )
        if "mask" in self.fields and is_drawn(self.card, self.card.options["mask"]):
            image: Any = self.fields["input"]
            gradio.on(
                [image.upload, image.clear],
                self._on_image,
                image,
                [self.fields["mask"], results.status],
                show_progress="hidden",
            )
        self.stop.click(self._on_stop)
        self.peek.click(self._on_peek, self.prompt, results.insight, show_progress="hidden")
        if "chat" in self.card.capabilities:
            self.message.submit(
                self._on_message,
                [self.message, self.chat, self.seed, *self.fields.values()],
                [self.chat, self.message, self.results.status],
                show_progress="hidden",
            )

    def _values(self, given: Sequence[Any]) -> dict[str, Any]:
        values = {}
        for name, value in zip(self.fields, given, strict=True):
            option = self.card.options[name]
            if is_drawn(self.card, option) and value:
                value = str(self.studio.state.uploads.keep_data_url(value, name))
            values[name] = value_of(option, value)
        return values

    async def _on_image(self, content: bytes | None) -> Sequence[Any]:
        """Show the image that a mask is drawn on."""
        try:
            image = None if content is None else str(self.studio.state.uploads.keep(content, "input"))
        except Exception as error:
            return gradio.HTML(image=""), error_html(error)
        return gradio.HTML(image=address_of(image)), ""

    async def _on_draw(
        self, request: gradio.Request, drawn: Any, earlier: Any, pinned: Any, *fields: Any
    ) -> AsyncIterator[Sequence[Any]]:
        prompt, seed, n, *options = fields
        try:
            asked = {"n": n, "seed": seed_of(seed), "options": self._values(options)}
        except Exception as error:
            yield self.results.failed(error)
            return
        text = None if self.card.prompt == "none" or not prompt else prompt
        run = self.studio.draw(visitor_of(request), self.card, text, **asked)
        async for outputs in self.results.follow(run, drawn, earlier, pinned):
            yield outputs

    async def _on_stop(self, request: gradio.Request) -> None:
        self.studio.stop(visitor_of(request))

    async def _on_peek(self, request: gradio.Request, prompt: str) -> str:
        one = {"max_tokens": 1} if "max_tokens" in self.card.options else {}
        run = self.studio.draw(
            visitor_of(request), self.card, prompt, n=1, seed=0, options=one, annotate=next_tokens
        )
        try:
            done = [drawing async for drawing in run][-1]
            if not done.samples:
                return said_html("Stopped.")
            return bars_html(prompt, done.samples[0].extra)
        except Exception as error:
            return error_html(error)

    async def _on_message(
        self, request: gradio.Request, text: str, history: Any, seed: str, *options: Any
    ) -> AsyncIterator[Sequence[Any]]:
        told = messages(history)
        if text.strip():
            told.append({"role": "user", "content": text})
        try:
            run = self.studio.draw(
                visitor_of(request), self.card, told, n=1, seed=seed_of(seed), options=self._values(options)
            )
            async for answer in answers(run):
                yield [*told, {"role": "assistant", "content": answer}], "", ""
        except Exception as error:
            yield messages(history), text, error_html(error)
