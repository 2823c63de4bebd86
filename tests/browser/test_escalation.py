"""Escalating by keyboard in a real browser: E asks once, the image is gone, and nothing loses it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import axe
from tests.browser.queue_site import QueueSite, queue_site
from tests.browser.screenshots import LOOKS, Look
from tests.browser.site import press_start

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PEOPLE = ("anna", "ben", "carl", "dora", "rita", "raul")
_ESCALATE = """
from uuid import uuid4
from labeling.actions.escalations import escalate
from labeling.models import Image, Person
image = Image.objects.get(pk={image})
escalate(dataset=image.dataset, images=[image.pk], person=Person.objects.get(username="dora"), key=uuid4())
"""
_HELD = """
import json
from labeling.models import Claim
held = Claim.objects.filter(reviewer__username="carl").order_by("item__priority")
print(json.dumps(list(held.values_list("item__image", flat=True))))
"""
_QUARANTINED = """
import json
from labeling.models import EscalationEvent, Quarantine
notes = list(EscalationEvent.objects.filter(kind="escalated").values_list("person__username", "image", "note"))
print(json.dumps([list(Quarantine.objects.values_list("image", flat=True)), notes]))
"""


@pytest.fixture(scope="module")
def queue() -> Iterator[QueueSite]:
    with queue_site(images=60, people=PEOPLE) as site:
        for name in ("rita", "raul"):
            site.run("add_person", name, "--escalations")
        yield site


def quarantined(queue: QueueSite) -> tuple[list[int], list[tuple[str, int, str]]]:
    images, notes = queue.python(_QUARANTINED)
    return images, [(who, image, note) for who, image, note in notes]


@contextmanager
def seat(queue: QueueSite, browser: Browser, name: str, *, may_fail: bool = False) -> Iterator[Page]:
    """A person at the first image of the queue; what their browser complains about fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    sign_in(queue, page, name)
    page.goto(queue.review)
    press_start(page)
    expect(page.locator("#focus[data-ready] #shown")).to_be_visible()
    try:
        yield page
    finally:
        if not may_fail:
            page.evaluate("document.getElementById('leave')?.submit()")
            page.wait_for_url("**/d/looks/")
        context.close()
    assert errors == []


def sign_in(queue: QueueSite, page: Page, name: str) -> None:
    page.goto(queue.base + queue.sign_in_path(name))
    page.get_by_role("button", name=f"Sign in as {name}").click()
    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def shown(page: Page) -> int:
    expect(page.locator("#focus[data-ready] #shown")).to_be_visible()
    return int((page.locator("#shown").get_attribute("src") or "").split("/images/")[1].split("/")[0])


def next_after(page: Page, image: int) -> int:
    page.wait_for_function(
        "image => { const shown = document.querySelector('#focus[data-ready] #shown');"
        " return shown?.getAttribute('src') && !shown.getAttribute('src').includes(`/images/${image}/`) }",
        arg=image,
    )
    return shown(page)


def saved(page: Page) -> None:
    expect(page.locator('#save-state[data-pending="0"]')).to_have_count(1)


def test_e_asks_once_and_takes_the_image_away(queue: QueueSite, browser: Browser) -> None:
    with seat(queue, browser, "anna") as page:
        image = shown(page)
        panel = page.locator("#escalation")
        page.keyboard.press("e")
        expect(panel).to_be_visible()
        page.keyboard.press("Escape")
        expect(panel).to_be_hidden()
        page.keyboard.press("e")
        for key in ("1", "k", "x", "ArrowLeft"):
            page.keyboard.press(key)
        expect(panel).to_be_visible()
        assert shown(page) == image
        page.get_by_label("What they should know").fill("every excerpt")
        page.keyboard.press("Enter")

        after = next_after(page, image)

        saved(page)
        assert "escalated" in page.locator("#save-state").inner_text()
        assert quarantined(queue) == ([image], [("anna", image, "every excerpt")])
        assert page.locator(f"img[src*='/images/{image}/']").count() == 0
        page.keyboard.press("z")
        expect(page.locator("#hint")).to_contain_text("only two authorised people release it")
        page.keyboard.press("ArrowLeft")
        assert shown(page) == after
        assert [kind for _, _, kind, _ in queue.verdicts()] == []


def test_an_e_is_not_lost_when_the_server_dies(queue: QueueSite, browser: Browser) -> None:
    with seat(queue, browser, "ben", may_fail=True) as page:
        image = shown(page)
        page.wait_for_load_state("networkidle")  # the next images are there
        with queue.down():
            page.keyboard.press("e")
            page.keyboard.press("e")
            next_after(page, image)
            expect(page.locator('#save-state[data-pending="1"]')).to_have_count(1)
        page.reload()
        saved(page)
        assert image in quarantined(queue)[0]
        assert ("ben", image, "") in quarantined(queue)[1]


def test_what_another_escalated_leaves_the_page_that_has_it_in_hand(queue: QueueSite, browser: Browser) -> None:
    with seat(queue, browser, "carl") as page:
        image = shown(page)
        page.keyboard.press("1")
        second = next_after(page, image)
        saved(page)
        third = queue.python(_HELD)[1]
        assert third not in {image, second}
        queue.run("shell", "--no-imports", "-c", _ESCALATE.format(image=third))
        page.keyboard.press("1")
        saved(page)
        page.wait_for_timeout(300)
        assert next_after(page, second) != third
        assert (
            page.locator(f"img[src*='/images/{third}/']").evaluate_all("all => all.map((one) => one.outerHTML)") == []
        )


def test_e_in_the_explorer_and_without_focus_mode_asks_on_a_page(queue: QueueSite, browser: Browser) -> None:
    with seat(queue, browser, "dora") as page:
        page.goto(f"{queue.base}/d/looks/images/")
        box = page.locator("input[name=image]").first
        image = int(box.get_attribute("value") or 0)
        box.focus()
        page.keyboard.press("e")
        expect(page.get_by_role("heading", name=f"Escalate image {image}?")).to_be_visible()
        page.keyboard.press("e")
        expect(page.get_by_text("1 image is out of sight")).to_be_visible()
        assert image in quarantined(queue)[0]
        page.goto(f"{queue.base}/d/looks/images/")
        image = int(page.locator("a[data-detail]").first.get_attribute("data-detail") or 0)
        page.goto(f"{queue.base}/d/looks/images/{image}/")
        page.keyboard.press("e")
        expect(page.get_by_role("heading", name=f"Escalate image {image}?")).to_be_visible()
        page.keyboard.press("Escape")
        page.wait_for_url("**/d/looks/images/")
        assert image not in quarantined(queue)[0]
        page.goto(queue.review)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_the_restricted_pages_break_no_rule_of_axe(queue: QueueSite, browser: Browser, look: Look) -> None:
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,
        has_touch=look.touch,
        is_mobile=look.touch,
        reduced_motion="reduce",
        bypass_csp=True,
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    script = axe.source()
    broken: dict[str, list[str]] = {}

    def check(name: str) -> None:
        if found := axe.violations(page, script):
            broken[name] = [str(one) for one in found]

    first: Callable[[], str] = lambda: page.get_by_role("link", name="Case ").first.get_attribute("href") or ""  # noqa: E731
    if not quarantined(queue)[0]:
        queue.run("shell", "--no-imports", "-c", _ESCALATE.format(image=queue.images()[-1]))
    try:
        sign_in(queue, page, "rita")
        page.goto(f"{queue.base}/escalations/")
        check("the list")
        page.goto(queue.base + first())
        check("a case")
        page.goto(f"{queue.base}/escalations/?show=released")
        check("an empty list")
        image = queue.images()[0]
        page.goto(f"{queue.base}/d/looks/escalate/?image={image}&image={image + 1}")
        check("the question")
        page.goto(queue.review)
        if page.locator("#claim").count():
            press_start(page)
        expect(page.locator("#focus[data-ready] #shown")).to_be_visible()
        page.locator("button[value=escalate]").click()
        expect(page.locator("#escalation")).to_be_visible()
        check("the question in focus mode")
    finally:
        context.close()
    assert not broken, "\n".join(f"{name}: {line}" for name, lines in broken.items() for line in lines)
