"""A page in a real browser: Debian's chromium, or the one that Playwright has installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright
from running_server import Server
from tiny_chat import write_tiny_chat

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")  # until its end, an event loop runs in this thread
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            # A sandbox is more than the root user of a container has.
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
        except Error:
            pytest.skip("There is no chromium. Install it: make browser")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page of built-in models, of a stranger's plugin, and of a model that chats."""
    folder = tmp_path_factory.mktemp("studio")
    chat = write_tiny_chat(folder / "tiny-chat")
    names = ("squares", "words", "gpt-kjv", "ddpm-digits", "stylegan2-digits", str(chat))
    running = Server(folder, *names, "--dtype", "float32", command="studio")
    yield running
    assert running.stop() == 0


@pytest.fixture
def page(browser: Browser, studio: Server) -> Iterator[Page]:
    """A page on which nothing goes wrong: no error in its console, no request to another site."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((studio.url, "data:", "blob:")) else wrong.append(request.url)
        ),
    )
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def choose(page: Page, studio: Server):
    """Open the page with a model chosen."""

    def open_with(model: str) -> Page:
        page.goto(f"{studio.url}/studio/?model={model}")
        page.get_by_role("button", name="Draw").wait_for()
        return page

    return open_with


@pytest.fixture
def drop():
    """Drop a file anywhere on the page."""

    def drop_file(page: Page, file: Path) -> None:
        script = """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name));
            const event = {dataTransfer: transfer, bubbles: true, cancelable: true};
            document.querySelector("#zoo-gallery").dispatchEvent(new DragEvent("drop", event));
        }"""
        page.evaluate(script, [file.name, list(file.read_bytes())])

    return drop_file
