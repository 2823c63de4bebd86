"""No page breaks a rule of axe-core (WCAG 2.2 AA and best practices), in dark, in light and at the width of a phone."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import axe
from tests.browser.pages import busiest_pair, page_urls
from tests.browser.screenshots import LOOKS, Look
from tests.browser.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def script() -> str:
    return axe.source()


def open_look(browser: Browser, site: Site, look: Look) -> Page:
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,
        has_touch=look.touch,
        is_mobile=look.touch,
        reduced_motion="reduce",
        bypass_csp=True,
    )
    return context.new_page()


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_no_page_breaks_a_rule(browser: Browser, site: Site, script: str, look: Look) -> None:
    given, suggested = busiest_pair(site)
    page = open_look(browser, site, look)
    broken: dict[str, list[str]] = {}

    def check(name: str) -> None:
        if found := axe.violations(page, script):
            broken[name] = [str(one) for one in found]

    try:
        page.goto(f"{site.base}/sign-in/")
        check("sign in")
        page.goto(site.sign_in_link("admin"))
        check("the sign-in link")
        page.get_by_role("button", name="Sign in as admin").click()
        expect(page.get_by_role("link", name="admin", exact=True)).to_be_visible()
        for path, url in page_urls(site).items():
            page.goto(url)
            check(path)
        page.goto(f"{site.base}/d/demo/review/grid/?given={given}&suggested={suggested}")
        page.get_by_role("button", name="Start").click()
        expect(page.locator("[data-settle]")).to_be_visible()
        check("grid")
        page.locator("[data-keys=escape]").click()
        page.goto(f"{site.base}/d/demo/review/")
        page.get_by_role("button", name="Start reviewing").click()
        expect(page.locator("#shown")).to_be_visible()
        check("focus mode")
        page.keyboard.press("?")
        check("focus mode with its keys")
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.wait_for_url(f"{site.base}/d/demo/")
    finally:
        page.context.close()
    assert not broken, "\n".join(f"{name}: {line}" for name, lines in broken.items() for line in lines)
