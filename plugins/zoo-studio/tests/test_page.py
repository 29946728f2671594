"""The page as a visitor uses it, with built-in models and those of a stranger's plugin."""

from __future__ import annotations

import io
import re
import zlib

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from zoo_core import read_record

pytestmark = pytest.mark.slow

SEED_7 = "Sample with seed 7: show its record"


def field(page: Page, label: str) -> Locator:
    """Return the text field of a label, which its hint follows."""
    return page.get_by_role("textbox", name=re.compile(f"^{label.replace('_', ' ')}"))


def draw(page: Page, **fields: str) -> None:
    """Fill fields by their labels, and press Draw."""
    for label, value in fields.items():
        field(page, label).fill(value)
    page.get_by_role("button", name="Draw").click()


def test_a_strangers_model_is_found_by_search_and_shows_its_options(page, studio):
    page.goto(studio.url)
    digits = page.get_by_role("button", name="stylegan2-digits")
    digits.wait_for()
    assert digits.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 50
    page.get_by_role("textbox", name="Search").fill("letters cc-by")
    expect(page.locator(".zoo-card")).to_have_count(1)
    page.get_by_role("button", name="words").press("Enter")
    expect(page.get_by_text("Not for commercial use, by the licence of its authors.")).to_be_visible()
    expect(page.get_by_role("checkbox", name="Chat")).to_be_visible()
    draw(page, Prompt="It was ", Seed="7", Max_tokens="9", Delay="0.2")
    expect(page.locator("#zoo-gallery figure > .zoo-text")).to_have_text(re.compile("^[a-z]{1,8}$"))
    expect(page.get_by_role("button", name=SEED_7)).to_have_text(re.compile("^[a-z]{9}$"))


def test_images_are_seen_as_they_come_and_downloaded_with_their_record(choose, tmp_path):
    page = choose("squares")
    draw(page, Seed="7", Delay="0.3", Level="0.2, 1")
    previews = page.locator("#zoo-gallery img[src^='data:image/png']")
    expect(previews.first).to_be_visible()
    expect(page.locator("#zoo-state")).to_contain_text("left")
    page.get_by_role("button", name=SEED_7).click()
    expect(page.locator("#zoo-details")).to_contain_text("level0.2")
    with page.expect_download() as download:
        page.locator("#zoo-details").get_by_text("Download").click()
    assert download.value.suggested_filename == "squares-7.png"
    download.value.save_as(tmp_path / "made.png")
    record = read_record(tmp_path / "made.png")
    assert (record.model, record.seed, record.options["level"]) == ("squares", 7, 0.2)


def test_a_run_can_be_stopped(choose):
    page = choose("squares")
    draw(page, Seed="7", Delay="2")
    expect(page.locator("#zoo-state progress")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#zoo-state")).to_have_text("Stopped.")


def test_a_dropped_file_fills_the_form_and_makes_the_sample_again(choose, drop, tmp_path):
    page = choose("stylegan2-digits")
    draw(page, Seed="7")
    page.get_by_role("button", name=SEED_7).click()
    with page.expect_download() as download:
        page.locator("#zoo-details").get_by_text("Download").click()
    file = tmp_path / "seven.png"
    download.value.save_as(file)
    page.goto(page.url.partition("?")[0])
    page.get_by_role("button", name="stylegan2-digits").wait_for()
    drop(page, file)
    expect(page.locator("#zoo-state")).to_contain_text("made by stylegan2-digits with seed 7")
    expect(field(page, "Seed")).to_have_value("7")
    page.get_by_role("button", name="Draw").click()
    link = page.locator("#zoo-gallery").get_by_text("Download")
    with page.expect_download() as again:
        link.click()
    again.value.save_as(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == file.read_bytes()


def test_errors_say_what_to_do(choose, drop, tmp_path):
    page = choose("squares")
    alert = page.get_by_role("alert")
    draw(page, Level="3")
    expect(alert).to_contain_text("--level does not accept 3.0.Give a number from 0 to 1.")
    draw(page, Seed="x", Level="")
    expect(alert).to_contain_text("'x' is not a seed.")
    stranger = tmp_path / "photo.png"
    stranger.write_bytes(_plain_png())
    drop(page, stranger)
    expect(alert).to_contain_text("photo.png has no record of how it was made.")
    draw(page, Seed="1", Title=str(stranger))
    expect(alert).to_contain_text("The option title names a file.")


def test_an_image_goes_to_a_file_option(choose, tmp_path):
    page = choose("squares")
    white = tmp_path / "white.png"
    white.write_bytes(_plain_png(255))
    page.locator(".zoo-file input[type=file]").set_input_files(white)
    expect(page.locator(".zoo-file")).to_contain_text("white")
    draw(page, Seed="7", Level="0")
    page.get_by_role("button", name=SEED_7).click()
    expect(page.locator("#zoo-details")).to_contain_text("/serve/uploads/")
    page.get_by_role("button", name="Again").click()
    expect(page.get_by_role("heading", name="Earlier")).to_be_visible()


def test_a_mask_is_drawn_over_the_image_and_the_rest_is_kept(choose, studio, tmp_path):
    page = choose("ddpm-digits")
    Image.new("L", (28, 28), 128).save(tmp_path / "grey.png")
    slow: list[Route] = []
    page.route("**/gradio_api/file=**", lambda route: slow.append(route))
    canvas = page.locator(".zoo-mask canvas")
    with page.expect_request("**/gradio_api/file=**"):
        page.locator(".zoo-file input[type=file]").first.set_input_files(tmp_path / "grey.png")
    expect(canvas).to_be_hidden()  # a stroke before the image is there would be lost
    slow[0].continue_()
    page.unroute("**/gradio_api/file=**")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] * 3 / 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 3 / 4, box["y"] + box["height"] * 3 / 4)
    page.mouse.up()
    draw(page, Seed="7")
    page.get_by_role("button", name=SEED_7).click()
    made = image_shown(page, studio)
    assert shades(made, (0, 0, 28, 18)) == {128}
    assert len(shades(made, (8, 21, 20, 22))) > 3
    page.get_by_role("button", name="Fill the form").click()
    expect(page.locator(".zoo-file").first).not_to_contain_text("grey")
    expect(canvas).to_have_attribute("width", "28")
    page.get_by_role("button", name="Invert").click()  # what was drawn is there again
    draw(page, Seed="8")
    page.get_by_role("button", name="Sample with seed 8").click()
    expect(page.locator("#zoo-details img")).to_have_attribute("alt", "Sample with seed 8")
    made = image_shown(page, studio)
    assert shades(made, (10, 20, 18, 22)) == {128}
    assert len(shades(made, (0, 0, 28, 18))) > 3


def shades(image: Image.Image, box: tuple[int, int, int, int]) -> set[int]:
    """Return the levels of grey in a part of an image."""
    return set(image.crop(box).tobytes())


def image_shown(page: Page, studio) -> Image.Image:
    """Return the image whose record is shown, in shades of grey."""
    address = page.locator("#zoo-details img").get_attribute("src")
    return Image.open(io.BytesIO(studio.http.get(address).content)).convert("L")


def test_a_sample_becomes_the_input_of_another_model(choose):
    page = choose("stylegan2-digits")
    draw(page, Seed="7")
    page.get_by_role("button", name=SEED_7).click()
    page.get_by_role("combobox", name="As input of").click()
    page.get_by_role("option", name="squares: Input").click()
    page.get_by_role("button", name="Use", exact=True).click()
    expect(page.get_by_role("heading", name="squares")).to_be_visible()
    draw(page, Seed="8", Level="0")
    expect(page.get_by_role("heading", name="Earlier")).to_be_visible()
    page.get_by_role("button", name="Sample with seed 8").click()
    expect(page.locator("#zoo-details")).to_contain_text("/serve/uploads/")


def test_next_tokens_and_log_probabilities_are_shown(choose):
    page = choose("gpt-kjv")
    field(page, "Prompt").fill("In the beginning God")
    page.get_by_role("button", name="Next token").click()
    expect(page.locator("#zoo-insight meter")).to_have_count(10)
    page.get_by_role("button", name="more options").click()
    draw(page, Seed="7", Logprobs="0", Max_tokens="12")
    expect(page.locator("#zoo-gallery .zoo-token")).to_have_count(12)
    expect(page.locator("#zoo-gallery .zoo-token").first).to_have_attribute("title", re.compile("%$"))


def test_two_settings_are_compared_with_the_same_seeds(choose):
    page = choose("stylegan2-digits")
    page.get_by_role("spinbutton", name="Samples").fill("2")
    draw(page, Seed="7")
    expect(page.locator("#zoo-gallery .zoo-sample")).to_have_count(2)
    field(page, "Seed").fill("99")
    page.get_by_role("button", name="Pin").click()
    expect(page.locator("#zoo-state")).to_contain_text("Pinned.")
    expect(field(page, "Seed")).to_have_value("7")
    field(page, "Truncation Truncation psi").fill("0.3")
    page.get_by_role("button", name="Draw").click()
    expect(page.locator(".zoo-pairs .zoo-sample")).to_have_count(4)
    expect(page.get_by_role("heading", name="stylegan2-digits, truncation 0.3")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_text("Save as one page").click()
    assert download.value.path().read_text().count("<figure") == 2
    expect(page.locator(".zoo-pairs figcaption")).to_contain_text(["seed 7", "seed 7", "seed 8", "seed 8"])


def test_a_walk_leads_from_a_sample_to_another_seed(choose):
    page = choose("stylegan2-digits")
    draw(page, Seed="7")
    page.get_by_role("button", name=SEED_7).click()
    field(page, "Walk to seed").fill("8")
    page.get_by_role("button", name="Walk", exact=True).click()
    slider = page.get_by_role("slider", name="From seed 7 to seed 8")
    first, second = (page.locator(f"img[alt='Step {step} of the walk']") for step in (0, 1))
    expect(first).to_be_visible()
    expect(second).to_be_hidden()
    slider.press("ArrowRight")
    expect(first).to_be_hidden()
    expect(second).to_be_visible()
    expect(page.locator(".zoo-walk img")).to_have_count(16)
    page.get_by_role("button", name="Vary seed").click()
    expect(page.get_by_role("button", name="Sample with seed 11")).to_be_visible()


def test_a_conversation_is_answered(choose):
    page = choose("tiny-chat")
    message = page.locator("#zoo-chat").get_by_role("textbox", name="Message")
    chat = page.locator("#zoo-chat")
    message.fill("the cat")
    message.press("Enter")
    expect(chat.get_by_text("the cat", exact=True)).to_be_visible()
    expect(chat.get_by_test_id("bot")).to_have_count(1)
    expect(message).to_have_value("")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(page, studio, scheme):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{studio.url}/studio/?model=ddpm-digits")
    page.get_by_role("button", name="Draw").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert ("dark" in page.evaluate("document.body.className")) == (scheme == "dark")


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "/proc/self/environ"])
def test_files_of_the_server_are_not_served(studio, path):
    assert studio.http.get(f"/studio/gradio_api/file={path}").status_code in (403, 404)


@pytest.mark.parametrize("path", ["/etc/passwd", "data:text/plain,x"])
def test_a_form_takes_no_file_that_was_not_uploaded(studio, path):
    body = drop_of(studio, path)
    assert studio.http.post("/studio/gradio_api/queue/join", json=body).status_code == 200
    session = body["session_hash"]
    with studio.http.stream("GET", f"/studio/gradio_api/queue/data?session_hash={session}") as events:
        ended = next(line for line in events.iter_lines() if "process_completed" in line)
    assert '"success":false' in ended
    assert "it was not uploaded by a user" in ended


def drop_of(studio, path):
    """Return the request of a page on which the file of this path is dropped."""
    config = studio.http.get("/studio/config").json()
    drop = next(each for each in config["components"] if each["props"].get("elem_id") == "zoo-drop")
    event = next(each for each in config["dependencies"] if each["inputs"] == [drop["id"]])
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    return {"data": [file], "fn_index": event["id"], "session_hash": f"stranger{len(path)}"}


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_pages_of_other_sites_are_refused(studio, headers):
    assert studio.http.get("/studio/config", headers=headers).status_code == 403


def test_the_api_is_there_too(studio):
    assert studio.http.get("/").headers["location"] == "/studio/"
    assert "squares" in studio.http.get("/v1/models").text


def _plain_png(level: int = 0) -> bytes:
    """Return a grey PNG of one pixel, without a record."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))
    pixel = chunk(b"IDAT", zlib.compress(bytes([0, level])))
    return b"\x89PNG\r\n\x1a\n" + header + pixel + chunk(b"IEND", b"")
