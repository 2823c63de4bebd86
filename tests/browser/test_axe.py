"""No page breaks a rule of axe-core (WCAG 2.2 AA and best practices), in dark, in light and at the width of a phone."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import axe
from tests.browser.screenshots import LOOKS, Look
from tests.browser.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGES = (
    "/",
    "/me/",
    "/runs/",
    "/runs/{run}/",
    "/d/demo/",
    "/d/demo/images/",
    "/d/demo/images/?sort=quality&image={image}",
    "/d/demo/images/?path=no-such-path",
    "/d/demo/images/{image}/",
    "/d/demo/duplicates/",
    "/d/demo/sources/",
    "/d/demo/audit/",
    "/d/demo/policy/",
    "/d/demo/policy/?most_adult=0.5&most_safe=2&sure=95",
    "/d/demo/releases/",
    "/d/demo/settings/",
    "/d/demo/review/",
    "/d/demo/review/grid/",
    "/d/demo/review/grid/?given={given}&suggested={suggested}",
    "/d/nothing/",
)


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


def busiest_pair(site: Site) -> tuple[str, str]:
    """The confusion pair with the most open items whose labels differ."""
    [(given, suggested)] = site.rows(
        "SELECT g.name, s.name FROM labeling_reviewitem i JOIN labeling_taxonomyclass g ON g.id = i.given_class_id "
        "JOIN labeling_taxonomyclass s ON s.id = i.suggested_class_id WHERE g.id <> s.id AND i.state = 'open' "
        "AND i.represented_by_id IS NULL GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1"
    )
    return given, suggested


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_no_page_breaks_a_rule(browser: Browser, site: Site, script: str, look: Look) -> None:
    [(image,)] = site.rows("SELECT image_id FROM labeling_reviewitem ORDER BY priority LIMIT 1")
    [(run,)] = site.rows("SELECT id FROM labeling_run WHERE kind = 'find_issues' ORDER BY id LIMIT 1")
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
        for path in PAGES:
            page.goto(site.base + path.format(image=image, run=run, given=given, suggested=suggested))
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
