"""Ten keys a second while the server dies twice and the network goes away: every decision arrives once, on its image.

The driver reads which image is on the screen, presses a key that depends on it, and writes both down. What it wrote
down has to be what the database says, in the same order.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.queue_site import QueueSite, queue_site
from tests.browser.site import press_start

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CLASSES = ("drawings", "hentai", "neutral", "porn", "sexy")
ITEMS = 300
TICK_SECONDS = 0.1
PEOPLE = ("anna", "ben", "cleo")
POSTGRES = os.environ.get("WINNOW_TEST_POSTGRES_URL", "")
# Lost requests are what this is about.
EXPECTED_ERRORS = ("Failed to load resource",)
IMAGE_ON_SCREEN = """() => {
  const shown = document.querySelector("#focus[data-ready] #shown");
  return shown ? Number(shown.getAttribute("src").match(/images\\/(\\d+)/)[1]) : 0;
}"""


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param(
            "postgresql",
            marks=pytest.mark.skipif(not POSTGRES, reason="WINNOW_TEST_POSTGRES_URL names no PostgreSQL server"),
        ),
    ],
    scope="module",
)
def database(request: pytest.FixtureRequest) -> str:
    return POSTGRES if request.param == "postgresql" else ""


@pytest.fixture
def site(database: str) -> Iterator[QueueSite]:
    with queue_site(images=ITEMS + 20, people=PEOPLE, postgres=database) as site:
        yield site


@dataclass
class Typist:
    """A person who decides whatever image is on the screen at every tick."""

    name: str
    context: BrowserContext
    page: Page
    pressed: list[tuple[int, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def tick(self) -> None:
        image = self.page.evaluate(IMAGE_ON_SCREEN)
        if not image:
            return  # nothing to decide: the server owes the next images
        place = image % len(CLASSES)
        self.pressed.append((image, CLASSES[place]))
        self.page.keyboard.press(str(place + 1))

    def wait_until_saved(self) -> None:
        expect(self.page.locator('#save-state[data-pending="0"]')).to_have_count(1, timeout=60_000)


@pytest.fixture
def sit(browser: Browser, site: QueueSite) -> Iterator[Callable[[str], Typist]]:
    typists: list[Typist] = []

    def sit(name: str) -> Typist:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.set_default_timeout(20_000)
        typist = Typist(name, context, page)
        page.on("pageerror", lambda error: typist.errors.append(str(error)))
        page.on("console", lambda said: typist.errors.append(said.text) if said.type == "error" else None)
        page.goto(site.base + site.links[name])
        page.get_by_role("button", name=f"Sign in as {name}").click()
        page.goto(site.review)
        press_start(page)
        expect(page.locator("#focus[data-ready] #shown")).to_be_visible()
        typists.append(typist)
        return typist

    yield sit
    for typist in typists:
        typist.context.close()
        assert [error for error in typist.errors if not error.startswith(EXPECTED_ERRORS)] == []


def type_until(typists: list[Typist], items: int, at: dict[int, Callable[[], None]]) -> None:
    """Tick until `items` keys were pressed in all; `at` says what happens after how many of them."""
    due = sorted(at.items())
    deadline = time.monotonic() + 240
    while sum(len(typist.pressed) for typist in typists) < items:
        assert time.monotonic() < deadline, f"stuck: {[t.page.locator('.status').inner_text() for t in typists]}"
        began = time.monotonic()
        for typist in typists:
            if sum(len(one.pressed) for one in typists) < items:
                typist.tick()
        while due and sum(len(typist.pressed) for typist in typists) >= due[0][0]:
            due.pop(0)[1]()
        # Playwright's own pause, so that the page's events are taken in meanwhile.
        typists[0].page.wait_for_timeout(max(0.0, TICK_SECONDS - (time.monotonic() - began)) * 1000)


def power_cut(site: QueueSite) -> None:
    """The server dies at once and comes back by itself a second later."""
    site.kill()
    threading.Timer(1.0, site.start).start()


def network_cut(typist: Typist) -> None:
    typist.context.set_offline(True)
    for _ in range(20):  # the hands do not stop at once
        typist.tick()
        typist.page.wait_for_timeout(100)
    expect(typist.page.locator("#save-state")).to_contain_text("offline")
    typist.context.set_offline(False)


def expected_verdicts(site: QueueSite, typist: Typist) -> list[tuple[str, int, str, str | None]]:
    given = {image: CLASSES[place % len(CLASSES)] for place, image in enumerate(sorted(site.images()))}
    return [
        (typist.name, image, "keep", None) if given[image] == label else (typist.name, image, "relabel", label)
        for image, label in typist.pressed
    ]


def test_every_key_is_saved_once_on_its_own_image_in_order(site: QueueSite, sit: Callable[[str], Typist]) -> None:
    anna = sit("anna")
    type_until(
        [anna],
        ITEMS,
        {60: lambda: power_cut(site), 140: lambda: network_cut(anna), 220: lambda: power_cut(site)},
    )
    anna.wait_until_saved()
    assert len(anna.pressed) == len({image for image, _ in anna.pressed}) == ITEMS
    assert site.verdicts() == expected_verdicts(site, anna)
    assert anna.page.locator("#refused-count").is_hidden()
    assert "No difference" in site.run("check_integrity")


def test_two_people_at_once_lose_and_double_nothing_either(site: QueueSite, sit: Callable[[str], Typist]) -> None:
    both = [sit("ben"), sit("cleo")]
    type_until(
        both,
        ITEMS,
        {80: lambda: power_cut(site), 150: lambda: network_cut(both[0]), 230: lambda: power_cut(site)},
    )
    for typist in both:
        typist.wait_until_saved()
    found = site.verdicts()
    assert len(found) == len({image for _, image, _, _ in found}) == ITEMS
    for typist in both:
        assert [row for row in found if row[0] == typist.name] == expected_verdicts(site, typist)
        assert len(typist.pressed) > ITEMS / 4
    assert "No difference" in site.run("check_integrity")
