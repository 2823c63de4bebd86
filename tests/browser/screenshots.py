"""Photographs of every page in use: `make screenshots`, or `python -m tests.browser.screenshots --out FOLDER`.

A Winnow of its own is started on the demo, two people review some of it, one release is cut and exported, and each
page is taken in dark, in light and at the width of a phone. Look at them after a change of the templates or the style
sheet. `--docs` renews the picture of the README as well.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from labeling.demo_images import read_truth
from tests.browser.site import CHROMIUM, NO_CHROMIUM, Site, launch, running_site
from tests.starter import CHECKOUT

REVIEWER = "mira"
_CLASSES = ("drawings", "hentai", "neutral", "porn", "sexy")
_VERDICTS = {"admin": 8, REVIEWER: 5}  # and one more for each look
_LOOK_MS = 900
_DOCS = CHECKOUT / "docs" / "review.png"
_DOCS_BYTES = 300_000


@dataclass(frozen=True)
class Look:
    """How a page is looked at."""

    name: str
    scheme: Literal["dark", "light"]
    width: int
    height: int
    touch: bool = False


LOOKS = (
    Look("dark", "dark", 1280, 800),
    Look("light", "light", 1280, 800),
    Look("narrow", "dark", 360, 740, touch=True),
)
PAGES = {
    "datasets": "/",
    "overview": "/d/demo/",
    "duplicates": "/d/demo/duplicates/",
    "images": "/d/demo/images/",
    "images-detail": "/d/demo/images/?sort=risk&image={image}",
    "image": "/d/demo/images/{image}/",
    "grid-start": "/d/demo/review/grid/",
    "policy": "/d/demo/policy/",
    "policy-promise": "/d/demo/policy/?most_adult=0.5&most_safe=2&sure=95#evidence",
    "releases": "/d/demo/releases/",
    "evaluations": "/d/demo/evaluations/",
    "evaluation": "/d/demo/evaluations/{evaluation}/",
    "loop": "/d/demo/loop/",
    "models": "/d/demo/models/",
    "train": "/d/demo/releases/{release}/train/",
    "interchange": "/d/demo/interchange/",
    "release-diff": "/d/demo/releases/1.0..1.1/",
    "team": "/d/demo/team/",
    "adjudicate": "/d/demo/adjudicate/",
    "programs": "/d/demo/programs/",
    "runs": "/runs/",
    "run": "/runs/{run}/",
    "me": "/me/",
    "not-found": "/d/nothing/",
}


@contextmanager
def visit(browser: Browser, look: Look) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,
        has_touch=look.touch,
        is_mobile=look.touch,
        reduced_motion="reduce",
    )
    try:
        yield context.new_page()
    finally:
        context.close()


def sign_in(page: Page, site: Site, name: str) -> None:
    page.goto(site.sign_in_link(name))
    page.get_by_role("button", name=f"Sign in as {name}").click()
    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def open_review(page: Page, site: Site, part: str = "") -> None:
    page.goto(f"{site.base}/d/demo/review/{part}")
    start = page.get_by_role("button", name="Start reviewing")
    if start.count():
        start.click()
    expect(page.locator("#focus[data-ready] #shown")).to_be_visible()


def correct_one(page: Page, truth: dict[int, str]) -> None:
    """Give the image on the screen its true label, no faster than a person would."""
    source = page.locator("#shown").get_attribute("src") or ""
    image = int(source.split("/images/")[1].split("/")[0])
    page.wait_for_timeout(_LOOK_MS)
    page.keyboard.press(str(_CLASSES.index(truth[image]) + 1))
    page.wait_for_function(
        "before => { const shown = document.querySelector('#focus[data-ready] #shown');"
        " return shown && shown.getAttribute('src') !== before }",
        arg=source,
    )


def true_labels(site: Site) -> dict[int, str]:
    """The true label of every image of the demo, by its number."""
    truth = {row.path: row.true_label for row in read_truth(site.home / "demo" / "truth.csv")}
    return {image: truth[path] for image, path in site.rows("SELECT id, path FROM labeling_image")}


def prepare(site: Site, browser: Browser) -> None:
    """Bring the demo into a state as after half an hour of work: verdicts of two people, one exported release."""
    truth = true_labels(site)
    site.command("add_person", REVIEWER, "--dataset", "demo")
    for name, verdicts in _VERDICTS.items():
        with visit(browser, LOOKS[0]) as page:
            sign_in(page, site, name)
            open_review(page, site)
            for _ in range(verdicts):
                correct_one(page, truth)
            leave(page, site)
            if name == REVIEWER:
                open_review(page, site, "?split=train")
                page.keyboard.press("u")
                expect(page.locator("#save-state")).to_contain_text("second person")
                leave(page, site)
                site.command("cut_release", "demo", "--leave-out-conflicts", "--note", "With what Mira corrected.")
            else:
                cut_and_export(page, site)


def leave(page: Page, site: Site) -> None:
    page.keyboard.press("Escape")
    page.wait_for_url(f"{site.base}/d/demo/")


def cut_and_export(page: Page, site: Site) -> None:
    page.goto(f"{site.base}/d/demo/releases/")
    page.get_by_label("Note").fill("The worst labels corrected; first one to train on.")
    page.get_by_label("Leave out").check()
    page.get_by_role("button", name="Cut the release").click()
    page.get_by_role("button", name="Export to the server").click()
    expect(page.get_by_text("images in")).to_be_visible(timeout=60_000)
    site.command("evaluate", "nsfwjs-mobilenet-v2", "demo", "1.0")


def take_all(site: Site, browser: Browser, out: Path) -> Iterator[Path]:
    """One PNG a page and look, named LOOK-PAGE.png.

    Raises:
        AssertionError: a page is wider than the screen.
    """
    [(image,)] = site.rows(
        "SELECT image_id FROM labeling_verdict WHERE kind = 'relabel' AND reviewer_id = "
        "(SELECT id FROM labeling_person WHERE username = ?) ORDER BY id LIMIT 1",
        REVIEWER,
    )
    [(run,)] = site.rows("SELECT id FROM labeling_run WHERE kind = 'find_issues' ORDER BY id LIMIT 1")
    [(evaluation, release)] = site.rows("SELECT id, release_id FROM labeling_evaluation ORDER BY id LIMIT 1")
    truth = true_labels(site)
    for look in LOOKS:
        with visit(browser, look) as page:
            page.goto(f"{site.base}/sign-in/")
            yield take(page, out, look, "sign-in")
            sign_in(page, site, "admin")
            for name, path in PAGES.items():
                page.goto(site.base + path.format(image=image, run=run, evaluation=evaluation, release=release))
                page.wait_for_load_state("networkidle")
                yield take(page, out, look, name, whole=not name.startswith("images"))
            page.goto(f"{site.base}/d/demo/review/grid/")
            page.locator(".pairs a").first.click()
            page.get_by_role("button", name="Start").click()
            page.locator("[data-settle] .tile").nth(2).click()
            page.wait_for_load_state("networkidle")
            yield take(page, out, look, "grid")
            page.keyboard.press("Escape")
            page.wait_for_url(f"{site.base}/d/demo/")
            page.goto(f"{site.base}/d/demo/review/")
            yield take(page, out, look, "review-start")
            open_review(page, site)
            correct_one(page, truth)
            yield take(page, out, look, "review")
            page.keyboard.press("?")
            yield take(page, out, look, "review-keys")
            page.keyboard.press("Escape")
            leave(page, site)


def take(page: Page, out: Path, look: Look, name: str, *, whole: bool = False) -> Path:
    too_wide = page.evaluate("document.documentElement.scrollWidth") - look.width
    assert too_wide <= 0, f"The page {name} is {too_wide} px wider than the screen in the look {look.name}."
    path = out / f"{look.name}-{name}.png"
    page.screenshot(path=path, full_page=whole)
    return path


def write_for_docs(taken: Path, target: Path) -> None:
    """Store the picture of the README small enough for a repository.

    Raises:
        AssertionError: it is still too large.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(taken) as picture:
        whole = picture.convert("RGB")
    # Half of the palette for the answer column: its few small marks would lose their colours to the photograph's.
    stage, answers = whole.crop((0, 0, 944, 800)), whole.crop((944, 0, 1280, 800))
    colours = [part.quantize(128, method=Image.Quantize.MEDIANCUT).getpalette() or [] for part in (stage, answers)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*colours[0][: 3 * 128], *colours[1][: 3 * 128]])
    whole.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(target, optimize=True)
    size = target.stat().st_size
    assert size < _DOCS_BYTES, f"{target} should stay under {_DOCS_BYTES:,} bytes, but has {size:,}."


def main() -> None:
    parser = argparse.ArgumentParser(prog="make screenshots", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=CHECKOUT / "var" / "screenshots", help="default var/screenshots")
    parser.add_argument("--docs", action="store_true", help="renew docs/review.png too")
    options = parser.parse_args()
    if CHROMIUM is None:
        sys.exit(NO_CHROMIUM)
    options.out.mkdir(parents=True, exist_ok=True)
    with running_site() as site, sync_playwright() as playwright:
        browser = launch(playwright)
        prepare(site, browser)
        taken = list(take_all(site, browser, options.out))
        browser.close()
    if options.docs:
        write_for_docs(options.out / "dark-review.png", _DOCS)
    sys.stdout.write(f"{len(taken)} pictures in {options.out}\n")


if __name__ == "__main__":
    main()
