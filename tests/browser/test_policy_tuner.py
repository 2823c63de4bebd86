"""The threshold tuner in a browser: figures follow slider, number, key and pointer, and come without JavaScript too."""

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATH = "/d/demo/policy/"


def sign_in(page: Page, site: Site) -> None:
    page.goto(site.sign_in_link("admin"))
    page.get_by_role("button", name="Sign in as admin").click()
    expect(page.get_by_role("link", name="admin", exact=True)).to_be_visible()


def figure(page: Page, name: str) -> Locator:
    return page.locator(f'[data-figure="{name}"]')


def stored(site: Site, condition: str) -> str:
    [(images,)] = site.rows(f"SELECT count(*) FROM labeling_imageband WHERE {condition}")
    return f"{images:,}"


def test_figures_follow_the_handles(page: Page, site: Site) -> None:
    sign_in(page, site)
    page.goto(site.base + PATH)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    low, high = page.locator("[data-number=safe]"), page.locator("[data-number=adult]")
    expect(figure(page, "safe.images")).to_have_text(stored(site, "unsafe <= 0.2"))

    low.fill("0.05")
    expect(figure(page, "safe.images")).to_have_text(stored(site, "unsafe <= 0.05"))
    expect(figure(page, "unknown.images")).to_have_text(stored(site, "unsafe > 0.05 AND adult < 0.8"))
    page.locator("[data-slider=adult]").focus()
    page.keyboard.press("ArrowRight")
    expect(high).to_have_value("0.801")
    expect(figure(page, "adult.images")).to_have_text(stored(site, "adult >= 0.801"))
    expect(page.locator("[data-live]")).to_contain_text("Safe ")

    # The bands cannot cross: one handle pushes the other along.
    page.locator("[data-slider=safe]").focus()
    page.keyboard.press("End")
    expect(low).to_have_value("0.999")
    expect(high).to_have_value("1")

    chart = page.locator(".band-chart")
    box = chart.bounding_box()
    assert box is not None
    left, width = box["width"] * 48 / 960, box["width"] * 864 / 960
    page.mouse.move(box["x"] + left + 0.9 * width, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + left + 0.3 * width, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(low).to_have_value(re.compile(r"0\.(29\d?|30?\d?)$"))
    assert not [url for url in asked if "/d/" in url]


def test_numbers_that_cross_are_not_sent(page: Page, site: Site) -> None:
    sign_in(page, site)
    page.goto(site.base + PATH)
    page.locator("[data-number=safe]").fill("0.9")
    page.get_by_role("button", name=re.compile("Save as version")).click()
    assert page.locator("[data-number=safe]").evaluate("field => field.validationMessage") != ""
    assert page.url == site.base + PATH


def test_a_version_is_saved_and_taken_back_by_the_next(page: Page, site: Site) -> None:
    sign_in(page, site)
    page.goto(site.base + PATH)
    page.locator("[data-number=safe]").fill("0.15")
    page.get_by_label("Why").fill("Tried in a browser.")
    page.get_by_role("button", name=re.compile("Save as version")).click()
    expect(page.get_by_text(re.compile(r"Version \d+ is in force"))).to_be_visible()
    expect(page.get_by_role("cell", name="Tried in a browser.").first).to_be_visible()
    page.locator("[data-number=safe]").fill("0.2")
    page.get_by_role("button", name=re.compile("Save as version")).click()
    expect(page.get_by_text(re.compile(r"Version \d+ is in force"))).to_be_visible()
    assert "No difference" in site.command("check_integrity")


def test_it_works_without_javascript(browser: Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    try:
        sign_in(page, site)
        page.goto(site.base + PATH)
        expect(page.locator("[data-slider=safe]")).to_be_hidden()
        page.locator("[data-number=safe]").fill("0.1")
        page.get_by_role("button", name="Show the figures").click()
        expect(figure(page, "safe.images")).to_have_text(stored(site, "unsafe <= 0.1"))
        page.get_by_role("button", name="Propose").click()
        expect(page.get_by_text("Not enough reviewed images.").first).to_be_visible()
    finally:
        context.close()
