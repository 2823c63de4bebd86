"""The explorer and the grid without a mouse: every control is reached by Tab, and every action done by keys."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.pages import busiest_pair
from tests.browser.site import Site, press_start

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# What a person can do something with and that the page shows.
CONTROLS = """
  () => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")].filter((element) =>
    element.type !== "hidden" && !element.disabled && !element.closest("[hidden]") && element.checkVisibility())
"""
UNREACHED = f"""
  () => {{
    const all = ({CONTROLS})();
    return all.filter((element) => !window.reached.has(element)).map((element) => element.outerHTML.slice(0, 120));
  }}
"""


def sign_in(page: Page, site: Site) -> None:
    page.goto(site.sign_in_link("admin"))
    page.get_by_role("button", name="Sign in as admin").click()
    expect(page.get_by_role("link", name="admin", exact=True)).to_be_visible()


def controls_that_tab_misses(page: Page) -> list[str]:
    page.evaluate(
        "() => { window.reached = new Set(); document.activeElement.blur();"
        " document.addEventListener('focusin', (event) => window.reached.add(event.target)); }"
    )
    count: int = page.evaluate(f"() => ({CONTROLS})().length")
    assert count > 20
    for _ in range(count + 10):
        page.keyboard.press("Tab")
    missed: list[str] = page.evaluate(UNREACHED)
    return missed


def excluded(site: Site) -> int:
    [(count,)] = site.rows("SELECT count(*) FROM labeling_image WHERE excluded")
    return int(count)


def press_button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).focus()
    page.keyboard.press("Enter")


def test_the_explorer_by_keys(page: Page, site: Site) -> None:
    sign_in(page, site)
    page.goto(f"{site.base}/d/demo/images/?sort=risk")
    boxes = page.locator("input[name=image]")
    before = excluded(site)

    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "sort"
    boxes.first.focus()
    page.keyboard.press("a")
    expect(page.locator("[data-selected-count]")).to_have_text("60 selected")
    page.keyboard.press("a")
    expect(page.locator("[data-selected-count]")).to_have_text("0 selected")
    expect(page.get_by_role("button", name="Exclude", exact=True)).to_be_hidden()

    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("[data-selected-count]")).to_have_text("3 selected")
    assert controls_that_tab_misses(page) == []

    press_button(page, "Exclude")
    expect(page.get_by_text("3 images of a selection excluded").first).to_be_visible()
    assert excluded(site) == before + 3
    assert page.url.endswith("?sort=risk")
    press_button(page, "Take back 3")
    expect(page.get_by_text("Taken back: 3 verdicts")).to_be_visible()
    assert excluded(site) == before
    assert "No difference" in site.command("check_integrity")


def test_the_detail_panel_opens_beside_the_images_and_is_in_the_url(page: Page, site: Site) -> None:
    sign_in(page, site)
    page.goto(f"{site.base}/d/demo/images/")
    page.locator("input[name=image]").nth(2).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#detail").get_by_role("heading", name="Verdicts")).to_be_visible()
    assert "image=" in page.url
    page.reload()
    expect(page.locator("#detail").get_by_role("heading", name="Verdicts")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{site.base}/d/demo/images/")
    page.locator("a[data-detail]").first.click()
    expect(page.get_by_role("heading", level=1, name="Image")).to_be_visible()


def test_the_grid_by_keys(page: Page, site: Site) -> None:
    sign_in(page, site)
    given, suggested = busiest_pair(site)
    page.goto(f"{site.base}/d/demo/review/grid/?given={given}&suggested={suggested}")
    press_start(page)
    expect(page.locator("[data-settle]")).to_be_visible()
    shown = page.locator("input[name=selected]").count()
    assert shown >= 4
    settle = page.locator("[data-settle-words]")
    expect(settle).to_have_text(f"Settle {shown}, leave 0")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(settle).to_have_text(f"Settle {shown - 1}, leave 1")
    page.keyboard.press("Shift+ArrowRight")
    expect(settle).to_have_text(f"Settle {shown - 2}, leave 2")
    page.keyboard.press("a")
    page.keyboard.press("a")
    expect(settle).to_have_text(f"Settle 0, leave {shown}")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    chosen = page.locator("input[name=selected]:checked").count()
    expect(settle).to_have_text(f"Settle {chosen}, leave {shown - chosen}")
    page.keyboard.down("r")
    expect(page.locator("[data-settle]")).to_have_class("revealed")
    page.keyboard.up("r")
    expect(page.locator("[data-settle]")).not_to_have_class("revealed")
    assert controls_that_tab_misses(page) == []

    [(before,)] = site.rows("SELECT count(*) FROM labeling_reviewitem WHERE state = 'settled'")
    page.locator("input[name=selected]").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"Settled {chosen} as {suggested}")).to_be_visible()
    [(after,)] = site.rows("SELECT count(*) FROM labeling_reviewitem WHERE state = 'settled'")
    assert after - before >= chosen
    page.get_by_role("button", name="Take back").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Taken back: ")).to_be_visible()
    [(again,)] = site.rows("SELECT count(*) FROM labeling_reviewitem WHERE state = 'settled'")
    assert again == before

    page.goto(f"{site.base}/d/demo/review/grid/?given={given}&suggested={suggested}")
    page.keyboard.press("f")
    page.wait_for_url(f"{site.base}/d/demo/review/?*")
    page.goto(f"{site.base}/d/demo/review/grid/")
    page.keyboard.press("Escape")
    page.wait_for_url(f"{site.base}/d/demo/")
    assert site.rows("SELECT * FROM labeling_claim") == []


def test_both_work_without_javascript(browser: Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    try:
        sign_in(page, site)
        page.goto(f"{site.base}/d/demo/images/?label=neutral")
        page.locator("input[name=image]").first.check()
        page.get_by_role("button", name="First in the queue").click()
        expect(page.get_by_text("1 image is now first in the queue.")).to_be_visible()
        given, suggested = busiest_pair(site)
        page.goto(f"{site.base}/d/demo/review/grid/?given={given}&suggested={suggested}")
        page.get_by_role("button", name="Start").click()
        page.locator("input[name=selected]").first.uncheck()
        page.get_by_role("button", name="Settle the selected").click()
        expect(page.get_by_text("left 1 open")).to_be_visible()
        page.get_by_role("button", name="Take back").first.click()
        page.goto(f"{site.base}/d/demo/review/grid/")
        page.locator("[data-keys=escape]").click()
    finally:
        context.close()
