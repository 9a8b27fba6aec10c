"""The web page in a real browser, at the width of a desk and of a phone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from browser import CHROMIUM, Page, browsing
from reciting import alphabet
from running import wait_until
from serving import KEY, Running, serving

from core.chat.text_model import TextModel
from core.serving.server import access_for

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

IDLE = "!document.querySelector('#send').hidden"
SIZES = [(1280, 800), (390, 780)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One tab for all tests."""
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(params=SIZES, ids=["desk", "phone"])
def page(request: pytest.FixtureRequest, browser: Page, server: Running) -> Iterator[Page]:
    """The page, freshly opened; in the end it must not have met an error or grown wider than the window."""
    width, height = request.param
    browser.problems.clear()
    browser.open(server.url, width=width, height=height)
    browser.wait_for("document.querySelectorAll('#model option').length === 5")
    yield browser
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.problems == []


def choose(page: Page, model: str) -> None:
    page.evaluate(
        "(name => { const model = document.querySelector('#model'); model.value = name;"
        f"model.dispatchEvent(new Event('change')); }})('{model}')"
    )


def ask(page: Page, text: str) -> None:
    page.click("#prompt")
    page.type(text)
    page.press("Enter")


def answers(page: Page) -> list[str]:
    found: list[str] = page.evaluate("[...document.querySelectorAll('.answer')].map(node => node.textContent)")
    return found


def own(page: Page) -> list[str]:
    found: list[str] = page.evaluate("[...document.querySelectorAll('.own')].map(node => node.textContent)")
    return found


def test_an_answer_shows_what_was_calculated(page: Page) -> None:
    choose(page, "sums")
    ask(page, "What is <b>six</b> times seven?")
    page.wait_for(IDLE)
    assert own(page) == ["What is <b>six</b> times seven?"]
    assert page.text(".tool .python") == "6*7"
    assert page.text(".tool .python_output") == "42"
    assert answers(page) == ["Sum: 6*742!"]  # the sign between the two is the style sheet's


def test_an_answer_streams_until_it_is_stopped(page: Page, server: Running) -> None:
    choose(page, "letters")
    ask(page, "The alphabet, please")
    page.wait_for("document.querySelector('.answer')?.textContent.length > 20")
    assert page.evaluate("document.querySelector('#send').hidden")
    page.click("#stop")
    page.wait_for(IDLE)
    [text] = answers(page)
    assert text == alphabet(len(text))
    assert page.text(".note + .note") == "Stopped."
    server.wait_until_idle()


def test_a_message_can_be_edited_and_an_answer_written_again(page: Page) -> None:
    choose(page, "coffee")
    for text in ("One", "Two", "Three"):
        ask(page, text)
        page.wait_for(IDLE)
    assert answers(page) == ["café☕"] * 3
    page.click("article:nth-child(2) button", "Edit")
    page.type(" and a half")
    page.press("Enter")
    page.wait_for(IDLE)
    assert own(page) == ["One", "Two and a half"]
    page.click("article:nth-child(1) button", "Regenerate")
    page.wait_for(IDLE)
    assert own(page) == ["One"]
    assert answers(page) == ["café☕"]
    page.click("#new")
    assert own(page) == []


def test_a_base_model_writes_on_and_before(page: Page) -> None:
    choose(page, "both_ways")
    page.evaluate("document.querySelector('#max_tokens').value = 5")
    page.evaluate("document.querySelector('#temperature').value = 0")
    ask(page, "abc")
    page.wait_for(IDLE)
    assert page.text(".document") == "abcdefgh"
    page.click("[data-direction=backward]")
    ask(page, "xyz")
    page.wait_for(f"{IDLE} && document.querySelectorAll('.document').length === 2")
    assert page.text("article:nth-child(2) .document") == "cbazyxyz"


def test_what_the_server_refuses_is_shown_and_the_talk_goes_on(page: Page) -> None:
    choose(page, "short")
    ask(page, "x" * 100)
    page.wait_for(IDLE)
    assert "104 tokens" in page.text(".alarm")
    refused = "Failed to load resource: the server responded with a status of 400 (Bad Request)"
    assert page.problems == [refused]
    page.problems.clear()
    page.evaluate("document.querySelector('#temperature').value = 0")
    ask(page, "x")
    page.wait_for(f"{IDLE} && document.querySelectorAll('.answer').length === 2")
    assert answers(page) == ["", alphabet(64 - 5)]


def test_a_key_is_asked_for_once(browser: Page, models: Mapping[str, TextModel]) -> None:
    with serving([models["coffee"]], access=access_for("127.0.0.1", KEY, allow_no_key=False)) as locked:
        browser.open(locked.url, width=390, height=780)
        browser.wait_for("document.querySelector('#key-dialog').open")
        browser.click("#key")
        browser.type(KEY)
        browser.click("#key-save")
        browser.wait_for("document.querySelectorAll('#model option').length === 1")
        ask(browser, "Hello")
        wait_until(lambda: answers(browser) == ["café☕"])
