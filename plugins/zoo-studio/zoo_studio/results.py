"""The right side of the page: progress, the gallery, and the sample that was pressed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import gradio
from zoo_serve.problems import Refusal
from zoo_serve.samples import StoredSample

from zoo_studio.drawing import Drawing, Studio
from zoo_studio.form import image_takers, seed_of
from zoo_studio.gallery import error_html, gallery_html, said_html, sample_html, status_html
from zoo_studio.replay import filled_from
from zoo_studio.walk import Walk, walk_html

EARLIER = 60
"""Samples of earlier runs that stay in the gallery."""
VARIED = 4
"""Samples that "Vary seed" makes."""

PRESSED = """
element.addEventListener('click', event => {
  const pressed = event.target.closest('[data-id]');
  if (pressed) trigger('select', {id: pressed.dataset.id});
});
"""
"""Tells Python the id of what was pressed."""

Values = Sequence[Any]


class Results:
    """The components, and what fills them."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.drawn = gradio.State()
        """The run that is shown."""
        self.earlier = gradio.State([])
        """Ids of samples made before it, the newest first."""
        self.pinned = gradio.State()
        """The run that is shown beside it."""
        self.selected = gradio.State()
        """Id of the sample whose record is shown."""
        self.status = gradio.HTML(elem_id="zoo-state")
        self.insight = gradio.HTML(elem_id="zoo-insight")
        self.gallery = gradio.HTML(gallery_html(None), js_on_load=PRESSED, elem_id="zoo-gallery")
        self.pin = gradio.Button("Pin, to compare with the next", size="sm", visible=False)
        self._add_details()
        self.kept = [self.drawn, self.earlier, self.pinned]
        """What :meth:`follow` takes."""
        self.outputs = [self.status, self.gallery, self.pin, self.drawn, self.earlier]
        """What it yields values for."""
        self._connect()

    def _add_details(self) -> None:
        with gradio.Column(visible=False, elem_id="zoo-details") as self.details:
            self.shown = gradio.HTML()
            with gradio.Row():
                self.again = gradio.Button("Again", size="sm", min_width=80)
                self.vary = gradio.Button("Vary seed", size="sm", min_width=80)
                self.fill = gradio.Button("Fill the form", size="sm", min_width=80)
            takers = image_takers(self.studio.state.models.cards())
            with gradio.Row(visible=False) as self.hand_row:
                self.taker = gradio.Dropdown(takers, label="As input of", scale=3)
                self.hand = gradio.Button("Use", size="sm", scale=1)
            with gradio.Row(visible=False) as self.walk_row:
                self.walk_to = gradio.Textbox(label="Walk to seed", placeholder="a seed", scale=3)
                self.walk = gradio.Button("Walk", size="sm", scale=1)
            self.walked = gradio.HTML()

    def _connect(self) -> None:
        self.gallery.select(
            self._on_select,
            None,
            [self.selected, self.details, self.shown, self.hand_row, self.walk_row, self.walked],
            show_progress="hidden",
        )
        for button, repeat in ((self.again, self._on_again), (self.vary, self._on_vary)):
            button.click(repeat, [self.selected, *self.kept], self.outputs, show_progress="hidden")
        gradio.on(
            [self.walk.click, self.walk_to.submit],
            self._on_walk,
            [self.selected, self.walk_to],
            self.walked,
            show_progress="hidden",
        )

    def sample(self, id: str | None) -> StoredSample:
        """Return a sample by its id.

        Raises:
            Refusal: None is selected, or the server does not keep it any more.
        """
        if id is None:
            raise Refusal("No sample is selected.", "Press one in the gallery.")
        return self.studio.state.samples.get(id)

    async def follow(
        self, run: AsyncIterator[Drawing], drawn: Drawing | None, earlier: list[str], pinned: Drawing | None
    ) -> AsyncIterator[Values]:
        """Yield values for the outputs while a run goes on; samples of the one before become earlier ones."""
        before = [sample.id for sample in drawn.samples] if drawn and drawn is not pinned else []
        ids = [*before, *earlier][:EARLIER]
        old = [sample for id in ids if (sample := self.studio.state.samples.find(id))]
        try:
            async for drawing in run:
                gallery = gallery_html(drawing, old, pinned)
                is_done = drawing.share == 1
                yield (
                    status_html(drawing, done=is_done),
                    gallery,
                    gradio.Button(visible=is_done),
                    drawing if is_done else gradio.skip(),
                    ids,
                )
            if not is_done:
                done = replace(drawing, tiles=tuple(tile for tile in drawing.tiles if tile.sample))
                gallery = gallery_html(done, old, pinned)
                yield said_html("Stopped."), gallery, gradio.Button(visible=bool(done.tiles)), done, ids
        except Exception as error:
            yield error_html(error), gallery_html(None, old, pinned), gradio.skip(), None, ids

    def failed(self, error: Exception) -> Values:
        """Return values for the outputs that tell an error, and leave the rest."""
        return error_html(error), *(gradio.skip(),) * 4

    async def _on_select(self, event: gradio.EventData) -> Values:
        try:
            sample = self.sample(event.id)
            card = self.studio.state.models.find(sample.record.model)
        except Exception as error:
            hidden = gradio.Row(visible=False)
            return None, gradio.Column(visible=True), error_html(error), hidden, hidden, ""
        takes = gradio.Row(visible=bool(sample.png and self.taker.choices))
        walks = gradio.Row(visible="latents" in card.capabilities)
        return sample.id, gradio.Column(visible=True), sample_html(sample), takes, walks, ""

    async def _on_again(
        self, request: gradio.Request, selected: str | None, *kept: Any
    ) -> AsyncIterator[Values]:
        async for outputs in self._repeat(request, selected, 0, 1, *kept):
            yield outputs

    async def _on_vary(
        self, request: gradio.Request, selected: str | None, *kept: Any
    ) -> AsyncIterator[Values]:
        async for outputs in self._repeat(request, selected, 1, VARIED, *kept):
            yield outputs

    async def _repeat(
        self, request: gradio.Request, selected: str | None, ahead: int, n: int, *kept: Any
    ) -> AsyncIterator[Values]:
        """Make a sample again from its record, or ``n`` with seeds that much ahead."""
        try:
            record = self.sample(selected).record
            filled, _ = filled_from(self.studio.state, record)
        except Exception as error:
            yield self.failed(error)
            return
        card = self.studio.state.models.find(filled.model)
        run = self.studio.draw(
            visitor_of(request), card, filled.prompt, n=n, seed=record.seed + ahead, options=filled.options
        )
        async for outputs in self.follow(run, *kept):
            yield outputs

    async def _on_walk(self, request: gradio.Request, selected: str | None, to: str) -> AsyncIterator[str]:
        try:
            record, seed = self.sample(selected).record, seed_of(to)
            if seed is None:
                raise Refusal("There is no seed to walk to.", "Give one, such as 7.")
            filled, _ = filled_from(self.studio.state, record)
            card = self.studio.state.models.find(filled.model)
            run = self.studio.draw(
                visitor_of(request),
                card,
                filled.prompt,
                n=1,
                seed=record.seed,
                options=filled.options,
                annotate=Walk(seed),
            )
            yield said_html("Walking …")
            done = [drawing async for drawing in run][-1]
            if not done.samples:
                raise Refusal("The walk was stopped.", "Walk again.")
            yield walk_html(record.seed, seed, done.samples[0].extra)
        except Exception as error:
            yield error_html(error)


def visitor_of(request: gradio.Request) -> str:
    """Return what stands for one open page."""
    return str(request.session_hash)
