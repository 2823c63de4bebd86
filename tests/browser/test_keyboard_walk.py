"""Every action of every page is reached with the Tab key alone, in sight and with a focus ring."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.pages import page_urls
from tests.browser.screenshots import sign_in
from tests.browser.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Marks everything that can be acted on, and says what each is; one radio button stands for its group.
_MARK = """
() => {
  const wanted = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const groups = new Set();
  const marked = [];
  for (const element of document.querySelectorAll(wanted)) {
    if (element.disabled || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.type === "radio") {
      const group = `${element.form?.action} ${element.name}`;
      const radios = [...document.getElementsByName(element.name)].filter((one) => one.form === element.form);
      if (groups.has(group) || (radios.some((one) => one.checked) && !element.checked)) continue;
      groups.add(group);
    }
    element.dataset.walked = marked.length;
    const name = element.getAttribute("aria-label") || element.textContent.trim() || element.name || element.href;
    marked.push(`${element.localName} ${name}`.slice(0, 80));
  }
  return marked;
}
"""
# Which marked element has the focus, and whether anybody could see that.
_FOCUSED = """
() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
  const label = element.closest("label");
  const ring = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const seen = ring({ outlineStyle, outlineWidth }) || boxShadow !== "none" || (label && ring(getComputedStyle(label)));
  return { walked: element.dataset.walked ?? null, seen: Boolean(seen), what: element.outerHTML.slice(0, 120) };
}
"""


def walk(page: Page) -> list[str]:
    """What cannot be reached with Tab, or not be seen to have been."""
    marked: list[str] = page.evaluate(_MARK)
    assert marked
    page.evaluate("document.activeElement?.blur()")
    reached: set[int] = set()
    unseen: list[str] = []
    for _ in range(2 * len(marked) + 10):
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        if focused is None or focused["walked"] is None:
            continue
        number = int(focused["walked"])
        if number in reached and len(reached) >= len(marked):
            break
        if number not in reached and not focused["seen"]:
            unseen.append(f"no focus ring: {focused['what']}")
        reached.add(number)
    # What gave way to its own answer meanwhile, as a count does, is no longer there to be reached.
    left: list[str] = page.evaluate("[...document.querySelectorAll('[data-walked]')].map(one => one.dataset.walked)")
    missed = [f"not reached: {marked[number]}" for number in sorted(map(int, left)) if number not in reached]
    return missed + unseen


def test_every_action_of_every_page_is_reached_by_keyboard(page: Page, site: Site) -> None:
    sign_in(page, site, "admin")
    wrong: dict[str, list[str]] = {}
    for name, url in page_urls(site).items():
        if name == "/d/nothing/":
            continue  # its 404 stands on the console
        page.goto(url)
        if found := walk(page):
            wrong[name] = found

    page.goto(f"{site.base}/d/demo/review/")
    page.get_by_role("button", name="Start reviewing").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#focus[data-ready]")).to_be_visible()
    if found := walk(page):
        wrong["focus mode"] = found
    page.keyboard.press("Escape")
    page.wait_for_url(f"{site.base}/d/demo/")
    assert not wrong, "\n".join(f"{name}: {line}" for name, lines in wrong.items() for line in lines)
