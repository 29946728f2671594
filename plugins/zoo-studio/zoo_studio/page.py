"""The page: its layout, the choice of a model, and the place for files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio
from zoo_serve.problems import Refusal
from zoo_serve.state import ServerState

from zoo_studio.cards import cards_html, matching
from zoo_studio.drawing import Drawing, Studio
from zoo_studio.form import Filled
from zoo_studio.gallery import error_html, said_html
from zoo_studio.model_form import add_form
from zoo_studio.replay import filled_from, record_in
from zoo_studio.results import PRESSED, Results, visitor_of

STYLE = Path(__file__).with_name("style.css")
SCRIPT = Path(__file__).with_name("page.js")

Values = Sequence[Any]


def build_page(state: ServerState) -> gradio.Blocks:
    """Return the page of a server's models."""
    blocks: gradio.Blocks = _Page(state).blocks
    return blocks


class _Page:
    """The page. What a visitor has done is in the components, not here."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.studio = Studio(state)
        with gradio.Blocks(
            title="zoo studio", analytics_enabled=False, delete_cache=(3600, 86400)
        ) as self.blocks:
            self.filled = gradio.State()
            """A :class:`Filled`: the form is built anew when it changes."""
            with gradio.Row(elem_id="zoo-page"):
                with gradio.Column(scale=2, min_width=320):
                    self._add_models()
                    form = gradio.Column()
                    self._add_drop()
                with gradio.Column(scale=3, min_width=320):
                    self.results = Results(self.studio)
            with form:
                gradio.render(inputs=self.filled, triggers=[self.filled.change])(self._add_form)
            self.chosen = [self.filled, self.models, self.cards]
            self._connect()
        self.blocks.queue(default_concurrency_limit=None)

    def _add_models(self) -> None:
        cards = self.state.models.cards()
        with gradio.Accordion("Models", open=True) as self.models:
            self.search = gradio.Textbox(
                label="Search", show_label=False, placeholder=f"Search {len(cards)} models", container=False
            )
            self.cards = gradio.HTML(cards_html(cards, None), js_on_load=PRESSED, elem_id="zoo-models")

    def _add_drop(self) -> None:
        self.drop = gradio.File(
            label="A file that the zoo made: its record fills the form",
            type="filepath",
            height=150,
            elem_id="zoo-drop",
        )

    def _add_form(self, filled: Filled | None) -> None:
        if filled is not None:
            add_form(self.results, filled)

    def _connect(self) -> None:
        results = self.results
        self.blocks.load(self._on_load, None, self.chosen)
        self.blocks.unload(self._on_unload)
        self.search.change(self._on_search, [self.search, self.filled], self.cards, show_progress="hidden")
        self.cards.select(self._on_choice, results.pinned, self.chosen, show_progress="hidden")
        self.drop.upload(
            self._on_drop, self.drop, [*self.chosen, results.status, self.drop], show_progress="hidden"
        )
        results.fill.click(
            self._on_fill, results.selected, [*self.chosen, results.status], show_progress="hidden"
        )
        results.hand.click(
            self._on_hand,
            [results.selected, results.taker],
            [*self.chosen, results.status],
            show_progress="hidden",
        )
        results.pin.click(
            self._on_pin,
            [results.drawn, results.pinned],
            [*self.chosen, results.status, results.pinned, results.pin],
            show_progress="hidden",
        )

    def _choose(self, filled: Filled) -> Values:
        """Return the outputs that go with a model: its form, the closed list of models, its marked card."""
        return filled, gradio.Accordion(open=False), cards_html(self.state.models.cards(), filled.model)

    async def _on_load(self, request: gradio.Request) -> Values:
        cards = self.state.models.cards()
        only = next(iter(cards)) if len(cards) == 1 else None
        wanted = request.query_params.get("model") or only
        if wanted is None or wanted not in cards:
            return (gradio.skip(),) * 3
        return self._choose(Filled(wanted))

    async def _on_unload(self, request: gradio.Request) -> None:
        self.studio.stop(visitor_of(request))

    async def _on_search(self, words: str, filled: Filled | None) -> str:
        return cards_html(matching(self.state.models.cards(), words), filled.model if filled else None)

    async def _on_choice(self, pinned: Drawing | None, event: gradio.EventData) -> Values:
        """Begin a form; beside a pinned run, with its prompt and seeds."""
        cards = self.state.models.cards()
        if event.id not in cards:
            return (gradio.skip(),) * 3
        filled = Filled(event.id)
        if pinned is not None:
            record = pinned.samples[0].record
            is_text = cards[event.id].prompt != "none" and isinstance(record.prompt, str)
            prompt = record.prompt if is_text else None
            filled = replace(filled, seed=record.seed, n=len(pinned.tiles), prompt=prompt)
        return self._choose(filled)

    async def _on_drop(self, file: str) -> Values:
        try:
            filled, notes = filled_from(self.state, record_in(Path(file)))
        except Exception as error:
            return *(gradio.skip(),) * 3, error_html(error), None
        said = f"{Path(file).name}: made by {filled.model} with seed {filled.seed}."
        said = " ".join([said, *notes, "Press Draw to make it again."])
        return *self._choose(filled), said_html(said), None

    async def _on_fill(self, selected: str | None) -> Values:
        try:
            filled, notes = filled_from(self.state, self.results.sample(selected).record)
        except Exception as error:
            return *(gradio.skip(),) * 3, error_html(error)
        return *self._choose(filled), said_html(" ".join(["The form is filled.", *notes]))

    async def _on_hand(self, selected: str | None, taker: str | None) -> Values:
        """Begin the form of another model with a sample as its input."""
        try:
            sample = self.results.sample(selected)
            if taker is None:
                raise Refusal("No model is chosen.", "Choose one that takes an image.")
            model, _, option = taker.partition("\n")
            file = await asyncio.to_thread(self.state.uploads.keep, sample.png, option)
        except Exception as error:
            return *(gradio.skip(),) * 3, error_html(error)
        filled = Filled(model, options={option: str(file)})
        return *self._choose(filled), said_html(f"The image is the input of {model}. Press Draw.")

    async def _on_pin(self, drawn: Drawing | None, pinned: Drawing | None) -> Values:
        """Pin the run, and fill the form with its record; or take the pin away."""
        as_it_is = (gradio.skip(),) * 3
        if pinned is not None:
            return *as_it_is, said_html("Not pinned any more."), None, "Pin, to compare with the next"
        try:
            if drawn is None or not drawn.samples:
                raise Refusal("There is nothing to pin.", "Draw first.")
            filled, _ = filled_from(self.state, drawn.samples[0].record)
        except Exception as error:
            return *as_it_is, error_html(error), None, gradio.skip()
        said = "Pinned. Change an option or the model, and draw: the seeds are the same."
        return *self._choose(replace(filled, n=len(drawn.tiles))), said_html(said), drawn, "Unpin"
