"""The page in a real browser: an image and labels give bars, with a mouse, a keyboard and on a telephone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clip_core.backends import load_backend
from clip_core.processing import CLIPProcessor
from support.messages import mentions
from support.served import served

SHAPES = Path(__file__).parents[4] / "examples" / "shapes"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright to drive a browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt install chromium")


@pytest.fixture(scope="module")
def client():
    encoder = load_backend("torch").load(SHAPES / "checkpoint")
    with served(encoder, CLIPProcessor.from_pretrained(SHAPES / "checkpoint"), model_name="shapes") as client:
        yield client


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def page(request, browser, client):
    """The page on a telephone's width; any error or message of its script fails the test."""
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=request.param)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{client.port}/")
    yield page
    # The browser itself reports requests that the server refuses, as one test wants.
    assert [text for text in complaints if "400 (Bad Request)" not in text] == []
    context.close()


def classify(page):
    page.fill("#labels", "a red circle\na green cross\n\n<b>a blue square</b>")
    page.focus("#template")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#bars li")


def test_an_image_gets_its_labels_as_bars(page):
    assert page.inner_text("#model") == "shapes"
    page.set_input_files("#picture", SHAPES / "pictures" / "a-green-cross.png")
    page.wait_for_selector("#preview:visible")
    classify(page)
    rows = page.locator("#bars li")
    assert rows.locator(".label").all_inner_texts()[0] == "a green cross"
    assert min(rows.locator(".label").all_inner_texts()) == "<b>a blue square</b>"  # text, and no markup
    assert rows.locator(".number").first.inner_text() in {"100.0 %", "99.9 %"}
    first, last = (rows.locator(".fill").nth(place).bounding_box()["width"] for place in (0, 2))
    assert first > 300
    assert last < 10
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_an_image_can_be_dropped_and_what_is_missing_is_said(page):
    page.click("button")
    assert page.inner_text("#status")
    assert page.get_attribute("#status", "class") == "bad"
    page.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
            const content = await new Promise((done) => canvas.toBlob(done));
            const files = new DataTransfer();
            files.items.add(new File([content], "drawn.png", { type: "image/png" }));
            const dropped = new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true });
            document.getElementById("drop").dispatchEvent(dropped);
        }"""
    )
    page.wait_for_selector("#preview:visible")
    assert page.get_attribute("#preview", "alt") == "drawn.png"
    classify(page)
    assert page.locator("#bars li").count() == 3
    assert page.inner_text("#status") == ""


def test_a_refusal_of_the_server_is_shown(page):
    page.set_input_files("#picture", SHAPES / "pictures" / "a-green-cross.png")
    page.fill("#template", "nowhere")
    page.click("button")
    page.wait_for_selector("#status.bad")
    assert mentions(page.inner_text("#status"), "'nowhere'")
