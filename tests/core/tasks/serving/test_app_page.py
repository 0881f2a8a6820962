"""The page in a real browser: labels as bars and hits as a grid, with a mouse, a keyboard and on a telephone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clip_core.tasks.search import ImageIndex
from support.messages import mentions
from support.served import served
from support.tolerances import THREE_DIGITS

SHAPES = Path(__file__).parents[4] / "examples" / "shapes"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright to drive a browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt install chromium")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    with ImageIndex(folder, model=SHAPES / "checkpoint", backend="torch", create=True) as index:
        index.add([SHAPES / "pictures"])
        yield index


@pytest.fixture(scope="module")
def client(index):
    with served(None, index=index, model_name="shapes") as client:
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
    page.click("#labels-tab")
    page.fill("#labels", "a red circle\na green cross\n\n<b>a blue square</b>")
    page.focus("#template")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#bars li")


def test_an_image_gets_its_labels_as_bars(page):
    assert page.inner_text("#model") == "shapes"
    page.click("#labels-tab")
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
    page.click("#labels-tab")
    page.click("#labels-form button")
    assert page.inner_text("#status")
    assert page.get_attribute("#status", "class") == "bad"
    drop(page)
    page.wait_for_selector("#preview:visible")
    assert page.get_attribute("#preview", "alt") == "drawn.png"
    classify(page)
    assert page.locator("#bars li").count() == 3
    assert page.inner_text("#status") == ""


def drop(page, name="drawn.png", kind="image/png", at="#drop"):
    """Drop a drawing on the page, as a file from another window; return True if the browser is kept from opening it."""
    return page.evaluate(
        """async ([name, kind, at]) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
            const content = await new Promise((done) => canvas.toBlob(done));
            const files = new DataTransfer();
            if (kind) files.items.add(new File([content], name, { type: kind }));
            else files.setData("text/plain", name);
            const dropped = new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true });
            document.querySelector(at).dispatchEvent(dropped);
            return dropped.defaultPrevented;
        }""",
        [name, kind, at],
    )


def test_an_image_can_be_dropped_anywhere_and_a_text_into_a_field(page):
    assert drop(page, at="h1")
    page.wait_for_selector("#preview:visible")
    assert drop(page, at="#query")
    assert drop(page, "https://example.org/", kind="", at="h1")
    assert not drop(page, "words", kind="", at="#query")


def test_another_file_than_an_image_leaves_the_hits_as_they_are(page):
    drop(page)
    shown = hits(page)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    drop(page, "notes.pdf", "application/pdf")
    assert page.get_attribute("#status", "class") == "bad"
    page.click("#labels-tab")
    drop(page, "notes.txt", "text/plain")
    assert page.get_attribute("#status", "class") == "bad"
    assert page.get_attribute("#preview", "alt") == "drawn.png"
    page.click("#search-tab")
    assert (hits(page), asked) == (shown, [])


def test_answers_about_an_earlier_image_are_not_shown(page):
    page.click("#labels-tab")
    page.set_input_files("#picture", SHAPES / "pictures" / "a-green-cross.png")
    page.wait_for_selector("#preview:visible")
    page.fill("#template", "a {}")
    page.fill("#labels", "cross $&")
    classify_request = held(page, "**/classify", lambda: page.click("#labels-form button"))
    drop(page)
    answer(page, classify_request)
    page.wait_for_function("() => !document.querySelector('#labels-form button').disabled")
    assert page.locator("#bars li").count() == 0
    page.click("#labels-form button")
    explain_request = held(page, "**/explain", lambda: page.locator("#bars button").click())
    assert explain_request.request.post_data_json["texts"] == ["a cross $&"]  # as the server fills templates
    page.click("#search-tab")
    answer(page, explain_request)
    assert page.is_hidden("#explanation")
    page.click("#labels-tab")
    page.locator("#bars button").click()
    page.wait_for_selector("#explanation:visible")


def held(page, path, act):
    """Return the first request to a path that an action causes; it waits until it is answered."""
    routes = []
    page.route(path, lambda route: routes.append(route), times=1)  # noqa: PLW0108  playwright sets an attribute
    act()
    while not routes:
        page.wait_for_timeout(1)  # runs the routes
    return routes[0]


def answer(page, route):
    """Let the server answer a request, and the page take the answer."""
    with page.expect_response(route.request.url):
        route.continue_()
    page.evaluate("() => fetch('healthz').then((answer) => answer.text())")


def test_a_server_of_few_hits_gives_as_many(browser, index):
    with served(None, index=index, max_inputs=3) as few:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{few.port}/")
        page.fill("#query", "a star")
        page.keyboard.press("Enter")
        assert len(hits(page)) == 3
        page.close()


def test_a_key_is_asked_for_and_then_kept(browser, index):
    with served(None, index=index, api_key="secret", model_name="shapes") as guarded:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{guarded.port}/")
        page.wait_for_selector("#key:visible")
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#status.bad")
        page.fill("#key", "secret")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('model').textContent === 'shapes'")
        assert page.inner_text("#status") == ""
        page.fill("#query", "a star")
        page.keyboard.press("Enter")
        assert len(hits(page)) == 10
        page.close()


def test_a_refusal_of_the_server_is_shown(page):
    page.click("#labels-tab")
    page.set_input_files("#picture", SHAPES / "pictures" / "a-green-cross.png")
    page.fill("#template", "nowhere")
    page.click("#labels-form button")
    page.wait_for_selector("#status.bad")
    assert mentions(page.inner_text("#status"), "'nowhere'")


def hits(page):
    """Return the names of the hits, once they are shown with their thumbnails."""
    page.wait_for_function(
        "() => { const found = [...document.querySelectorAll('#hits img')];"
        " return found.length && found.every((image) => image.naturalWidth > 0); }"
    )
    return page.locator("#hits .name").all_inner_texts()


def test_words_give_hits_as_a_grid_with_scores_by_the_keyboard_alone(page, index):
    page.focus("#search-tab")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#labels-form")
    page.keyboard.press("ArrowLeft")
    page.focus("#query")
    page.keyboard.type("red hearts")
    page.keyboard.press("Enter")
    expected = index.search(["red hearts"], top_k=24)
    assert hits(page) == [hit.path.name for hit in expected]
    scores = page.locator("#hits .number").all_inner_texts()
    assert list(map(float, scores)) == pytest.approx([hit.score for hit in expected], abs=THREE_DIGITS)
    places = [page.locator("#hits li").nth(place).bounding_box() for place in range(3)]
    assert places[0]["y"] == places[1]["y"] < places[2]["y"]  # two columns on a telephone
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_dropped_image_is_searched_for_at_once_and_a_hit_searches_for_its_like(page):
    drop(page)
    assert len(hits(page)) == 10
    page.fill("#query", "a yellow star")
    page.click("#clear")
    page.click("#search-form button")
    page.wait_for_function("() => document.querySelector('#hits .name')?.textContent === 'a-yellow-star.png'")
    page.locator("#hits button", has_text="four-red-hearts.png").click()
    page.wait_for_function("() => document.querySelector('#hits .name')?.textContent === 'four-red-hearts.png'")
    assert hits(page)[0] == "four-red-hearts.png"
    assert page.input_value("#query") == ""
    assert page.get_attribute("#preview", "alt") == "four-red-hearts.png"


def test_conditions_and_subtracted_words_narrow_the_hits(page, index):
    page.click("summary")
    page.fill("#query", "two shapes")
    page.fill("#without", "purple")
    page.fill("#where", "size<4.7kB, date>=2000")
    page.click("#search-form button")
    expected = index.search(["two shapes"], without=["purple"], where=["size<4.7kB", "date>=2000"])
    assert hits(page) == [hit.path.name for hit in expected]
    page.fill("#where", "owner=me")
    page.click("#search-form button")
    page.wait_for_selector("#status.bad")
    assert mentions(page.inner_text("#status"), "owner=me")


def test_a_label_is_explained_by_an_overlay(page):
    page.click("#labels-tab")
    page.set_input_files("#picture", SHAPES / "pictures" / "a-green-cross.png")
    page.wait_for_selector("#preview:visible")
    classify(page)
    page.locator("#bars button").first.press("Enter")
    page.wait_for_selector("#explanation:visible")
    assert mentions(page.inner_text("#words"), "a green cross", "green", "cross")
    assert page.evaluate("document.getElementById('overlay').naturalWidth") == 64
