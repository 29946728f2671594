"""Answers as server-sent events, one JSON object each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

from zoo_serve.engine.job import Advanced, Finished, Job
from zoo_serve.problems import answer, body_of, to_json
from zoo_serve.state import ServerState

DONE = b"data: [DONE]\n\n"


def event(content: Any, name: str | None = None) -> bytes:
    """Return one event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + to_json(content) + b"\n\n"


class EventStream(StreamingResponse):
    """A stream of events, which proxies pass on at once."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )


async def begun(job: Job) -> AsyncIterator[Advanced | Finished]:
    """Return a job's events once the first is there; what goes wrong before it is an error with a status."""
    events = job.events()
    first = await anext(events)

    async def all_events() -> AsyncIterator[Advanced | Finished]:
        yield first
        async for later in events:
            yield later

    return all_events()


async def guarded(
    state: ServerState, job: Job, events: AsyncIterator[bytes], name: str | None = None
) -> AsyncIterator[bytes]:
    """Pass events on; an error becomes an event of this name. Give the job up if the client goes away."""
    try:
        async for each in events:
            yield each
    except Exception as error:
        answer(error)  # for the log
        yield event(body_of(error), name)
    finally:
        state.give_up(job)
