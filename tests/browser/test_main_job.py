"""The main job in a real browser: sign in, correct labels by keys, undo, cut, export; then look at the disk."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from labeling.demo_images import read_truth
from tests.browser.site import Site, press_start, running_site

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CLASSES = ("drawings", "hentai", "neutral", "porn", "sexy")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A Winnow of its own: what is checked here is everything that was ever decided in it."""
    with running_site() as site:
        yield site


def shown_image(page: Page) -> int:
    source = page.locator("#shown").get_attribute("src") or ""
    found = re.search(r"/images/(\d+)/", source)
    assert found, source
    return int(found.group(1))


def press(page: Page, key: str) -> None:
    """Press a key that decides, and wait until another image is on the screen."""
    before = page.locator("#shown").get_attribute("src")
    page.keyboard.press(key)
    page.wait_for_function(
        "before => { const shown = document.querySelector('#focus[data-ready] #shown');"
        " return shown && shown.getAttribute('src') !== before }",
        arg=before,
    )


def test_correct_twenty_labels_by_keys_undo_one_cut_and_export(page: Page, site: Site) -> None:
    truth = {row.path: row.true_label for row in read_truth(site.home / "demo" / "truth.csv")}
    paths = dict(site.rows("SELECT id, path FROM labeling_image"))
    given = dict(
        site.rows("SELECT i.id, c.name FROM labeling_image i JOIN labeling_taxonomyclass c ON c.id = i.given_class_id")
    )

    page.goto(site.link)
    page.get_by_role("button", name="Sign in as admin").click()
    expect(page.get_by_role("link", name="demo").first).to_be_visible()

    page.goto(f"{site.base}/d/demo/review/")
    press_start(page)
    expect(page.locator("#focus[data-ready] #shown")).to_be_visible()

    decided: list[tuple[int, str]] = []
    for _ in range(21):  # twenty that stand, and one to take back
        image = shown_image(page)
        right = truth[paths[image]]
        press(page, "k" if right == given[image] else str(CLASSES.index(right) + 1))
        decided.append((image, right))
    assert len({image for image, _ in decided}) == 21

    expect(page.locator('#save-state[data-pending="0"]')).to_have_count(1)
    undone, _ = decided.pop()
    press(page, "z")
    assert shown_image(page) == undone
    expect(page.locator('#save-state[data-pending="0"]')).to_have_count(1)

    rows = site.rows(
        "SELECT v.image_id, v.kind, c.name, v.undoes_id IS NOT NULL, v.seconds FROM labeling_verdict v "
        "LEFT JOIN labeling_taxonomyclass c ON c.id = v.label_id ORDER BY v.id"
    )
    # A near duplicate is settled with its image; nobody looked at it for any seconds.
    verdicts = [row for row in rows if row[3] or row[4] is not None]
    with_them = [
        (image, label or given[image]) for image, _, label, undoes, seconds in rows if not undoes and not seconds
    ]
    assert len(verdicts) == 22
    for (image, right), (image_id, kind, label, undoes, seconds) in zip(decided, verdicts, strict=False):
        expected = ("keep", None) if right == given[image] else ("relabel", right)
        assert (image_id, (kind, label), undoes) == (image, expected, 0)
        assert seconds is not None
        assert 0 < seconds < 60
    assert verdicts[-1][:4] == (undone, "undo", None, 1)

    page.goto(f"{site.base}/d/demo/releases/")
    page.get_by_label("Leave out").check()
    page.get_by_role("button", name="Cut the release").click()
    expect(page.get_by_role("heading", name="1.0")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Export to the server").click()
    expect(page.get_by_text("images in")).to_be_visible(timeout=60_000)
    target = Path(page.locator("code.path").first.inner_text())

    check_export(target, site, decided + with_them, undone, given)
    assert "No difference" in site.command("check_integrity")


def check_export(target: Path, site: Site, decided: list[tuple[int, str]], undone: int, given: dict[int, str]) -> None:
    import keras

    with (target / "manifest.csv").open(newline="") as file:
        manifest = {row["original_path"]: row for row in csv.DictReader(file)}
    paths = dict(site.rows("SELECT id, path FROM labeling_image"))
    current = dict(decided)
    entries = site.rows(
        "SELECT image_id, split FROM labeling_releaseentry e JOIN labeling_release r ON r.id = e.release_id "
        "JOIN labeling_dataset d ON d.id = r.dataset_id WHERE d.slug = 'demo'"
    )
    assert len(manifest) == len(entries) > 600
    for image, split in entries:
        row = manifest[paths[image]]
        label = current.get(image, given[image])
        assert (row["split"], row["label"], row["given_label"]) == (split, label, given[image])
        assert (target / row["file"]).read_bytes() == (site.home / "demo" / "images" / paths[image]).read_bytes()
        assert row["decided_by"] == ("admin" if image in current else "")
    assert manifest[paths[undone]]["decision"] == ""
    for split in ("train", "validation", "test"):
        loaded = keras.utils.image_dataset_from_directory(
            target / split, class_names=list(CLASSES), image_size=(32, 32), verbose=False
        )
        assert len(loaded.file_paths) == sum(1 for _, of_split in entries if of_split == split)


def test_the_review_page_works_without_javascript(site: Site, page: Page) -> None:
    context = page.context.browser.new_context(java_script_enabled=False)  # type: ignore[union-attr]
    try:
        plain = context.new_page()
        plain.goto(site.command("sign_in_link", "admin", "--base", site.base).strip())
        plain.get_by_role("button", name="Sign in as admin").click()
        plain.goto(f"{site.base}/d/demo/review/")
        if plain.get_by_role("button", name="Start reviewing").count():
            plain.get_by_role("button", name="Start reviewing").click()
        first = shown_image(plain)
        plain.get_by_role("button", name="Exclude").click()
        assert shown_image(plain) != first
        assert site.rows("SELECT excluded FROM labeling_image WHERE id = ?", first) == [(1,)]
        plain.get_by_role("button", name="undo").click()
        assert shown_image(plain) == first
        assert site.rows("SELECT excluded FROM labeling_image WHERE id = ?", first) == [(0,)]
    finally:
        context.close()
