"""The review page by keyboard: what each key does, and that no verdict is lost, doubled or put on another image.

All of it runs on a small dataset of its own, where one class is harmful (so its images are blurred) and one image's
file is gone. Every test has its own reviewer.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from reviewer.focus_items import HOLD
from tests.browser.site import Site, environment, free_port, press_start
from tests.starter import CHECKOUT

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TAXONOMY = """
title = "Weather"
[[classes]]
name = "calm"
group = "safe"
harm_rank = 0
[[classes]]
name = "foggy"
group = "safe"
harm_rank = 0
[[classes]]
name = "stormy"
group = "adult"
harm_rank = 2
"""
ANNOTATORS = (
    *("dora", "nora", "hanna", "shirin", "mona", "rosa", "lena", "hilda", "olga", "lotte", "salma", "blanca"),
    *("petra", "paula", "ella", "erna", "anton", "ida", "irma", "ute", "ursula", "vera", "tilda", "zora", "nina"),
    *("rita", "karla", "sanna", "runa", "carla"),
)
LOST_REQUEST = ("Failed to load resource", "htmx:", "Response Status Error Code 502")
OUTSIDER = "otto"
ENGINEER = "emil"
# One process for all of them: `add_person` and `sign_in_link` for each would take longer than the tests.
SEAT_PEOPLE = """
import json
from labeling.actions.datasets import find_dataset
from labeling.actions.people import add_person, make_sign_in_token, set_role
from labeling.models import Role
weather = find_dataset("weather")
links = {}
for name, role in PEOPLE.items():
    person, _ = add_person(name=name)
    if role:
        set_role(dataset=weather, person=person, role=Role(role))
    links[name] = f"/sign-in/{person.pk}/{make_sign_in_token(person)}/"
print(json.dumps(links))
"""
# What the page itself has on its screen, in order; noted by the page, as a test that asks would miss some.
NOTE_SHOWN_IMAGES = """
  window.shownImages = [];
  new MutationObserver(() => {
    const image = document.querySelector("#focus[data-ready] #shown");
    const number = image && Number(image.getAttribute("src").match(/images\\/(\\d+)/)[1]);
    if (number && window.shownImages.at(-1) !== number) window.shownImages.push(number);
  }).observe(document, { subtree: true, childList: true, attributes: true });
"""


@dataclass(frozen=True)
class Weather:
    """The dataset of these tests: mostly calm, some stormy (harmful), and one foggy image whose file is gone."""

    site: Site
    links: dict[str, str]

    @property
    def url(self) -> str:
        return f"{self.site.base}/d/weather/"

    def way_in(self, name: str) -> str:
        """The path of a sign-in link; each works once, so that a second try gets a new one."""
        if name in self.links:
            return self.links.pop(name)
        return self.site.sign_in_link(name).removeprefix(self.site.base)


@pytest.fixture(scope="module")
def weather(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Weather:
    folder = tmp_path_factory.mktemp("weather")
    taxonomy = folder / "weather.toml"
    taxonomy.write_text(TAXONOMY)
    demo = site.home / "demo" / "images" / "train"
    photographs, drawings = (sorted((demo / name).iterdir()) for name in ("neutral", "drawings"))
    for target, pictures in (
        ("train/calm", photographs[:100]),
        ("validation/stormy", drawings[:30]),
        ("train/foggy", drawings[30:31]),
    ):
        (folder / "images" / target).mkdir(parents=True)
        for path in pictures:
            shutil.copy(path, folder / "images" / target)
    site.command("import_images", str(folder / "images"), "--dataset", "weather", "--taxonomy", str(taxonomy))
    site.command("score", "weather")
    site.command("find_issues", "weather")
    shutil.rmtree(folder / "images" / "train" / "foggy")
    people = dict.fromkeys(ANNOTATORS, "annotator") | {ENGINEER: "ml", OUTSIDER: ""}
    said = site.command("shell", "--no-imports", "-c", f"PEOPLE = {people!r}{SEAT_PEOPLE}")
    return Weather(site, json.loads(said))


@dataclass
class Desk:
    """One person at the review page in a browser of their own."""

    weather: Weather
    name: str
    context: BrowserContext
    page: Page
    errors: list[str] = field(default_factory=list)

    def open(self, **part: str) -> None:
        """Start on a part of the queue and wait for its first image; by default calm images, which nothing blurs."""
        filters = {"given": "calm", "suggested": "calm", "everything": "1"} | part
        query = "&".join(f"{name}={value}" for name, value in filters.items() if value)
        self.page.goto(f"{self.weather.url}review/?{query}")
        press_start(self.page)
        self.wait_until_ready()

    def wait_until_ready(self, other_than: int | None = None) -> int:
        self.page.wait_for_function(
            "other => { const shown = document.querySelector('#focus[data-ready] #shown');"
            " return shown && !shown.getAttribute('src').includes(`/images/${other}/`) }",
            arg=other_than,
        )
        return self.image

    def wait_until_shown(self, image: int) -> None:
        self.page.wait_for_function(
            "image => document.querySelector('#focus[data-ready] #shown')?.src.includes(`/images/${image}/`)", arg=image
        )

    def press(self, key: str) -> int:
        """Press a key that moves on, and wait until it is saved; the image that it was about."""
        before = self.image
        self.page.keyboard.press(key)
        self.wait_until_ready(other_than=before)
        self.wait_until_saved()
        return before

    def wait_until_saved(self) -> None:
        expect(self.page.locator('#save-state[data-pending="0"]')).to_have_count(1)

    @property
    def image(self) -> int:
        found = re.search(r"/images/(\d+)/", self.page.locator("#shown").get_attribute("src") or "")
        assert found
        return int(found.group(1))

    @property
    def saved(self) -> str:
        return self.page.locator("#save-state").inner_text()

    def shown_images(self) -> list[int]:
        found: list[int] = self.page.evaluate("window.shownImages")
        return found

    def verdicts(self) -> list[tuple[int, str, str | None]]:
        """(image, kind, class) of this person's verdicts, in order."""
        return self.weather.site.rows(
            "SELECT v.image_id, v.kind, c.name FROM labeling_verdict v JOIN labeling_person p ON p.id = v.reviewer_id "
            "LEFT JOIN labeling_taxonomyclass c ON c.id = v.label_id WHERE p.username = ? ORDER BY v.id",
            self.name,
        )

    def claims(self) -> set[int]:
        rows = self.weather.site.rows(
            "SELECT i.image_id FROM labeling_claim c JOIN labeling_person p ON p.id = c.reviewer_id "
            "JOIN labeling_reviewitem i ON i.id = c.item_id WHERE p.username = ?",
            self.name,
        )
        return {image for (image,) in rows}

    def sign_in(self, page: Page, link: str) -> None:
        page.goto(link)
        page.get_by_role("button", name=f"Sign in as {self.name}").click()
        expect(page.get_by_role("link", name=self.name, exact=True)).to_be_visible()


Sit = Callable[..., Desk]


@pytest.fixture
def sit(weather: Weather, browser: Browser) -> Iterator[Sit]:
    """Seat a new person of this name at the review page; what their browser complains about fails the test.

    Lost requests and refusals are what these tests are about, so only those may stand on the console.
    """
    desks: list[Desk] = []

    def sit(name: str, base: str = weather.site.base) -> Desk:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.add_init_script(NOTE_SHOWN_IMAGES)
        page = context.new_page()
        page.set_default_timeout(30_000)
        desk = Desk(weather, name, context, page)
        page.on("pageerror", lambda error: desk.errors.append(str(error)))
        page.on("console", lambda said: desk.errors.append(said.text) if said.type == "error" else None)
        desks.append(desk)
        desk.sign_in(page, base + weather.way_in(name))
        return desk

    yield sit
    for desk in desks:
        desk.context.close()
    # What nobody gives back would be missing for those who come after.
    weather.site.change("DELETE FROM labeling_claim")
    for desk in desks:
        assert [error for error in desk.errors if not error.startswith(LOST_REQUEST)] == []


def given_and_suggested(weather: Weather, image: int) -> tuple[str, str]:
    [row] = weather.site.rows(
        "SELECT g.name, s.name FROM labeling_reviewitem r JOIN labeling_image i ON i.id = r.image_id "
        "JOIN labeling_taxonomyclass g ON g.id = i.given_class_id "
        "JOIN labeling_taxonomyclass s ON s.id = r.suggested_class_id WHERE i.id = ?",
        image,
    )
    given, suggested = row
    return given, suggested


@contextmanager
def hasty_server(site: Site) -> Iterator[str]:
    """Another web server on the same home, where a reviewer holds an image for five seconds only."""
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "reviewer.wsgi:application",
            "--bind",
            f"127.0.0.1:{port}",
            "--threads",
            "2",
        ],
        cwd=CHECKOUT,
        env=environment(site.home) | {"CLAIM_LEASE_SECONDS": "5"},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_the_deciding_keys_save_what_the_help_panel_says(sit: Sit, weather: Weather) -> None:
    desk = sit("dora")
    desk.open(given="stormy", suggested="")
    assert given_and_suggested(weather, desk.image) == ("stormy", "calm")
    expected: list[tuple[int, str, str | None]] = []
    for key, what in (
        ("Enter", ("relabel", "calm")),
        ("2", ("relabel", "foggy")),
        ("k", ("keep", None)),
        ("u", ("unsure", None)),
        ("x", ("exclude", None)),
    ):
        expected.append((desk.press(key), *what))
        assert desk.saved.startswith("✓")
    assert desk.verdicts() == expected

    expected.append((desk.press("3"), "keep", None))  # the given label's own digit keeps it
    assert desk.verdicts() == expected

    skipped = desk.press("s")
    assert desk.verdicts() == expected
    assert skipped not in desk.claims()

    desk.press("z")
    assert desk.image == expected[-1][0]
    assert desk.verdicts() == [*expected, (desk.image, "undo", None)]
    desk.press("Z")  # as with Caps Lock on
    assert desk.image == expected[-2][0]

    desk.page.keyboard.press("?")
    told = {kbd.strip() for kbd in desk.page.locator("#help kbd").all_inner_texts()}
    deciding = {"1", "3", "Enter", "K", "U", "X", "S", "E", "Z", "Esc", "?"}
    assert told == deciding | {"←", "→", "Space", "B", "+", "−", "Shift", "G", "H", "D", "N", "I"}


def test_nothing_moves_from_one_image_to_the_next(sit: Sit) -> None:
    desk = sit("nora")
    places: set[str] = set()
    for part in ({}, {"given": "stormy", "suggested": ""}):  # one is in train, the other in validation
        desk.open(**part)
        for _ in range(2):
            places.add(
                desk.page.evaluate(
                    "() => [...document.querySelectorAll('#picture, #shown, #decide button')]"
                    ".map(one => (one.dataset.label ?? one.id) + JSON.stringify(one.getBoundingClientRect()))"
                    ".join('\\n')"
                )
            )
            desk.press("s")
    assert len(places) == 1, "\n\n".join(places)


def test_the_help_opens_and_closes_and_escape_gives_the_images_back(sit: Sit, weather: Weather) -> None:
    desk = sit("hanna")
    desk.open()
    help_panel = desk.page.locator("#help")
    for opening, closing in (("?", "?"), ("?", "Escape")):
        desk.page.keyboard.press(opening)
        expect(help_panel).to_be_visible()
        desk.page.keyboard.press(closing)
        expect(help_panel).to_be_hidden()
    assert len(desk.claims()) == HOLD

    desk.page.keyboard.press("Escape")
    expect(desk.page.get_by_role("heading", name="Given against suggested")).to_be_visible()
    assert desk.page.url == weather.url
    assert desk.claims() == set()
    assert desk.verdicts() == []


def test_space_reveals_only_while_it_is_held_and_b_turns_the_blur_off_for_good(sit: Sit, weather: Weather) -> None:
    desk = sit("shirin")
    desk.open(given="stormy", suggested="")
    filter_of = "() => getComputedStyle(document.getElementById('shown')).filter"

    def blurred() -> bool:
        return "blur" in str(desk.page.evaluate(filter_of))

    assert blurred()
    desk.page.keyboard.down("Space")
    assert not blurred()
    desk.page.keyboard.up("Space")
    assert blurred()

    desk.page.keyboard.down("Space")
    desk.press("k")
    assert blurred(), "the next image must not be revealed by a key that was held for the one before"
    desk.page.keyboard.up("Space")

    for shield, seen in ((0, False), (1, True)):
        with desk.page.expect_response("**/me/shield/"):
            desk.page.keyboard.press("b")
        assert blurred() is seen
        assert weather.site.rows("SELECT shield FROM labeling_person WHERE username = ?", desk.name) == [(shield,)]
        desk.page.reload()
        desk.wait_until_ready()
        assert blurred() is seen


def test_shortcuts_of_the_browser_and_a_key_that_repeats_decide_nothing(sit: Sit) -> None:
    desk = sit("mona")
    desk.open()
    first = desk.image
    for key in ("Control+x", "Alt+1", "Meta+k"):
        desk.page.keyboard.press(key)
    desk.page.get_by_role("button", name="Unsure").focus()
    assert desk.verdicts() == []

    desk.page.keyboard.press("Enter")  # on a button, Enter presses that button; it does not accept the suggestion
    desk.wait_until_ready(other_than=first)
    desk.wait_until_saved()
    assert desk.verdicts() == [(first, "unsure", None)]

    second = desk.image
    desk.page.keyboard.down("1")
    desk.wait_until_ready(other_than=second)
    for _ in range(5):
        desk.page.keyboard.down("1")  # what a held key sends
    desk.page.keyboard.up("1")
    desk.wait_until_saved()
    assert desk.verdicts() == [(first, "unsure", None), (second, "keep", None)]


def test_the_next_image_does_not_wait_for_the_server(sit: Sit) -> None:
    desk = sit("rosa")
    desk.open()
    on_its_way: list[Route] = []
    desk.page.route("**/review/verdicts/**", lambda route: on_its_way.append(route))
    expected = []
    for key, kind in (("1", "keep"), ("2", "relabel"), ("x", "exclude")):
        expected.append((desk.image, kind, "foggy" if kind == "relabel" else None))
        desk.page.keyboard.press(key)
        desk.wait_until_ready(other_than=expected[-1][0])
    expect(desk.page.locator("#save-state")).to_have_text("… sending 3")
    assert desk.verdicts() == []

    for route in on_its_way:
        route.continue_()
    desk.page.unroute("**/review/verdicts/**")
    desk.wait_until_saved()
    assert desk.verdicts() == expected


def test_keys_while_the_image_is_still_loading_land_on_no_image(sit: Sit) -> None:
    desk = sit("lena")
    loading: list[Route] = []
    desk.page.route("**/file?**", lambda route: loading.append(route))
    desk.page.goto(f"{desk.weather.url}review/?everything=1&given=calm")
    press_start(desk.page)
    expect(desk.page.locator("#shown[src]")).to_be_attached()
    desk.wait_until_saved()  # the page's own code is there
    for key in ("1", "Enter", "x", "k"):
        desk.page.keyboard.press(key)
    # The hint goes by itself after a moment; its words stay.
    expect(desk.page.locator("#hint")).to_have_text("one moment, the image is loading")
    assert desk.verdicts() == []

    for route in loading:
        route.continue_()
    desk.page.unroute("**/file?**")
    desk.wait_until_ready()
    image = desk.press("k")
    assert desk.verdicts() == [(image, "keep", None)]


def test_a_hammered_key_decides_each_image_that_was_shown_once_and_no_other(sit: Sit) -> None:
    desk = sit("hilda")
    desk.open()
    deadline = time.monotonic() + 20
    while len(desk.verdicts()) < 8 and time.monotonic() < deadline:
        for _ in range(10):
            desk.page.keyboard.press("1")
    desk.wait_until_ready()
    desk.wait_until_saved()
    shown = desk.shown_images()
    decided = [image for image, _, _ in desk.verdicts()]
    assert len(decided) >= 8
    assert decided == shown[:-1]
    assert len(set(shown)) == len(shown)
    assert shown[-1] == desk.image


def test_decisions_without_a_connection_survive_a_reload_and_are_saved_once(sit: Sit) -> None:
    desk = sit("olga")
    desk.open()
    desk.page.route("**/review/verdicts/**", lambda route: route.abort("connectionreset"))
    expected = []
    for key, label in (("2", "foggy"), ("3", "stormy")):
        expected.append((desk.image, "relabel", label))
        desk.page.keyboard.press(key)
        desk.wait_until_ready(other_than=expected[-1][0])
    expect(desk.page.locator("#save-state")).to_have_text("◌ offline, 2 wait")
    expect(desk.page.get_by_role("button", name="Retry now")).to_be_visible()

    desk.page.on("dialog", lambda dialog: dialog.accept())
    desk.page.reload()
    desk.wait_until_ready()
    assert desk.image not in {image for image, _, _ in expected}, "what was decided is not asked again"
    expect(desk.page.locator("#save-state")).to_have_text("◌ offline, 2 wait")
    assert desk.verdicts() == []

    desk.page.unroute("**/review/verdicts/**")
    desk.page.get_by_role("button", name="Retry now").click()
    desk.wait_until_saved()
    assert desk.verdicts() == expected


def test_a_decision_whose_answer_was_lost_is_sent_again_with_its_key_and_saved_once(sit: Sit) -> None:
    desk = sit("lotte")
    desk.open()
    first = desk.image
    tries: list[str] = []

    def unlucky(route: Route) -> None:
        tries.append(json.loads(route.request.post_data or "")["verdicts"][0]["key"])
        if len(tries) == 1:
            route.fetch()  # the server has it, but its answer never arrives
            route.abort("connectionreset")
        elif len(tries) == 2:
            route.fulfill(status=502, body="Bad gateway")
        else:
            route.continue_()

    desk.page.route("**/review/verdicts/**", unlucky)
    desk.page.keyboard.press("2")
    desk.wait_until_ready(other_than=first)
    desk.wait_until_saved()
    assert len(tries) == 3
    assert len(set(tries)) == 1
    assert desk.verdicts() == [(first, "relabel", "foggy")]


def test_decisions_of_somebody_signed_out_wait_and_go_on_by_themselves(sit: Sit, weather: Weather) -> None:
    desk = sit("salma")
    desk.open()
    expected = []
    desk.context.clear_cookies(name="sessionid")
    for key in ("x", "k"):
        expected.append((desk.image, {"x": "exclude", "k": "keep"}[key], None))
        desk.page.keyboard.press(key)
        desk.wait_until_ready(other_than=expected[-1][0])
    expect(desk.page.locator("#save-state")).to_have_text("✕ signed out – sign in in another tab; 2 verdicts wait")
    assert desk.verdicts() == []

    elsewhere = desk.context.new_page()
    desk.sign_in(elsewhere, weather.site.sign_in_link(desk.name))
    elsewhere.close()
    desk.wait_until_saved()
    assert desk.verdicts() == expected


def test_what_one_person_decided_waits_for_them_and_not_for_the_next_at_this_browser(
    sit: Sit, weather: Weather
) -> None:
    desk = sit("ida")
    desk.open()
    first = desk.image
    desk.context.clear_cookies(name="sessionid")
    desk.page.keyboard.press("x")
    expect(desk.page.locator("#save-state")).to_contain_text("1 verdict waits")
    other = Desk(weather, "irma", desk.context, desk.context.new_page())
    other.sign_in(other.page, weather.site.base + weather.way_in("irma"))
    other.open()
    other.wait_until_saved()
    assert other.verdicts() == desk.verdicts() == []

    desk.sign_in(other.page, weather.site.sign_in_link("ida"))
    desk.wait_until_saved()
    assert desk.verdicts() == [(first, "exclude", None)]


def test_an_undo_of_what_was_never_sent_leaves_no_trace(sit: Sit) -> None:
    desk = sit("ute")
    desk.open()
    on_its_way: list[Route] = []
    desk.page.route("**/review/verdicts/**", lambda route: on_its_way.append(route))
    images = []
    for _ in range(3):
        images.append(desk.image)
        desk.page.keyboard.press("2")
        desk.wait_until_ready(other_than=images[-1])
    # The first is with the server already; the other two still lie in the outbox.
    for image in (images[2], images[1]):
        desk.page.keyboard.press("z")
        desk.wait_until_shown(image)
    desk.page.keyboard.press("k")
    desk.wait_until_ready(other_than=images[1])
    assert desk.image == images[2]

    for route in on_its_way:
        route.continue_()
    desk.page.unroute("**/review/verdicts/**")
    desk.wait_until_saved()
    assert desk.verdicts() == [(images[0], "relabel", "foggy"), (images[1], "keep", None)]


def test_an_undo_without_a_connection_shows_the_image_at_once_and_is_kept(sit: Sit) -> None:
    desk = sit("ursula")
    desk.open()
    first = desk.image
    desk.context.set_offline(True)
    desk.page.keyboard.press("2")
    desk.wait_until_ready(other_than=first)
    expect(desk.page.locator("#save-state")).to_have_text("◌ offline, 1 waits")
    desk.page.keyboard.press("z")
    desk.wait_until_shown(first)
    desk.page.keyboard.press("x")
    desk.wait_until_ready(other_than=first)

    desk.context.set_offline(False)
    desk.wait_until_saved()
    assert desk.verdicts() == [
        (first, "relabel", "foggy"),
        (first, "undo", None),
        (first, "exclude", None),
    ]


def test_the_arrows_look_back_without_deciding_and_z_takes_back_what_is_looked_at(sit: Sit) -> None:
    desk = sit("vera")
    desk.open()
    decided = [desk.press("2"), desk.press("x"), desk.press("k")]
    newest = desk.image
    for image in reversed(decided[1:]):
        desk.page.keyboard.press("ArrowLeft")
        expect(desk.page.locator("#past")).to_be_visible()
        expect(desk.page.locator(f"#shown[src*='/{image}/']")).to_be_visible()
    desk.page.keyboard.press("1")
    expect(desk.page.locator("#hint")).to_have_text("already decided: Z takes it back, → goes on")
    desk.page.keyboard.press("z")
    expect(desk.page.locator("#past")).to_be_hidden()  # the same image is on the screen before and after
    desk.wait_until_ready()
    assert desk.image == decided[1]
    desk.wait_until_saved()
    assert desk.verdicts()[-1] == (decided[1], "undo", None)
    assert len(desk.verdicts()) == 4

    desk.page.keyboard.press("ArrowLeft")
    expect(desk.page.locator("#past")).to_contain_text("You decided: keep calm")
    desk.page.keyboard.press("ArrowRight")
    desk.wait_until_ready()
    desk.press("u")
    assert desk.image == newest


def test_shift_z_puts_back_what_z_took_back(sit: Sit) -> None:
    desk = sit("rita")
    desk.open()
    decided = [desk.press("2"), desk.press("x")]
    newest = desk.image
    for image in reversed(decided):
        desk.page.keyboard.press("z")
        desk.wait_until_shown(image)
    desk.page.keyboard.press("Shift+Z")
    desk.wait_until_ready(other_than=decided[0])
    desk.page.keyboard.press("Shift+Z")
    desk.wait_until_ready(other_than=decided[1])
    assert desk.image == newest
    desk.wait_until_saved()
    assert desk.verdicts()[-2:] == [(decided[0], "relabel", "foggy"), (decided[1], "exclude", None)]

    # After a reload only the server knows what was undone.
    desk.press("z")
    desk.page.reload()
    desk.wait_until_ready()
    assert desk.image == decided[1]
    desk.page.keyboard.press("Shift+Z")
    desk.wait_until_ready(other_than=decided[1])
    expect(desk.page.locator("#save-state")).to_have_text("✓ put back: your verdict stands again")
    desk.page.keyboard.press("Shift+Z")
    expect(desk.page.locator("#save-state")).to_contain_text("nothing to put back")


def test_keys_lie_where_the_person_has_put_them(sit: Sit, weather: Weather) -> None:
    desk = sit("karla")
    desk.page.goto(f"{weather.site.base}/me/")
    desk.page.get_by_label("class 2", exact=True).fill("j")
    desk.page.get_by_label("exclude").fill("k")
    desk.page.get_by_label("keep the given label").fill("x")
    desk.page.get_by_role("button", name="Use these keys").click()
    expect(desk.page.get_by_text("Your keys lie there from now on.")).to_be_visible()

    desk.open()
    expect(desk.page.locator("#decide [data-label=foggy] kbd").first).to_have_text("J")
    first = desk.press("j")
    second = desk.press("k")
    third = desk.press("x")
    desk.page.keyboard.press("2")  # what lay at J before, so nothing here
    desk.wait_until_saved()
    assert desk.verdicts() == [(first, "relabel", "foggy"), (second, "exclude", None), (third, "keep", None)]


def test_the_back_button_shows_no_image_that_was_decided_since(sit: Sit, weather: Weather) -> None:
    desk = sit("runa")
    desk.open()
    desk.page.goto(f"{weather.url}images/")
    desk.page.go_back()
    desk.wait_until_ready()
    decided = [desk.press("2"), desk.press("x")]
    desk.page.goto(f"{weather.url}images/")
    desk.page.go_back()
    desk.wait_until_ready()
    assert desk.image not in decided
    decided.append(desk.press("k"))
    assert [image for image, _, _ in desk.verdicts()] == decided


def test_on_a_slow_line_each_key_still_lands_on_the_image_that_was_seen(sit: Sit) -> None:
    """As slow 4G is: 400 ms there and back, 1.6 Mbit/s down."""
    desk = sit("sanna")
    slow = desk.context.new_cdp_session(desk.page)
    slow.send("Network.enable")
    slow.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 400, "downloadThroughput": 200_000, "uploadThroughput": 90_000},
    )
    desk.open()
    for _ in range(14):
        desk.page.keyboard.press("2")
        desk.page.wait_for_timeout(250)
    desk.page.wait_for_function("() => document.querySelector('#save-state').dataset.pending === '0'", timeout=30_000)
    decided = [image for image, _, _ in desk.verdicts()]
    assert len(decided) >= 3
    assert decided == desk.shown_images()[: len(decided)]


def test_two_tabs_of_one_person_decide_nothing_twice(sit: Sit) -> None:
    desk = sit("tilda")
    desk.open()
    other = Desk(desk.weather, "tilda", desk.context, desk.context.new_page())
    other.page.goto(desk.page.url)
    other.wait_until_ready()
    decided = []
    for tab in (desk, other, other, desk, other):
        tab.page.bring_to_front()
        tab.wait_until_ready()
        before = tab.image
        decided.append(before)
        tab.page.keyboard.press("k")
        tab.wait_until_ready(other_than=before)
        for one in (desk, other):
            one.page.wait_for_function(
                "before => !document.querySelector('#shown')?.src.includes(`/${before}/`)", arg=before
            )
    desk.wait_until_saved()
    other.wait_until_saved()
    assert desk.verdicts() == [(image, "keep", None) for image in decided]
    assert len(set(decided)) == 5


def test_the_image_is_zoomed_and_moved_and_the_next_one_is_whole(sit: Sit) -> None:
    desk = sit("zora")
    desk.open()
    shape = "() => document.getElementById('shown').style.transform"
    middle = desk.page.locator("#picture").bounding_box()
    assert middle is not None
    desk.page.keyboard.press("+")
    desk.page.keyboard.press("+")
    assert "scale(1.5625)" in desk.page.evaluate(shape)
    desk.page.keyboard.press("Shift+ArrowRight")
    assert "translate(-" in desk.page.evaluate(shape)
    desk.page.locator("#picture").dblclick()
    assert desk.page.evaluate(shape) == ""
    desk.page.mouse.move(middle["x"] + 100, middle["y"] + 100)
    desk.page.mouse.wheel(0, -300)
    assert "scale" in desk.page.evaluate(shape)
    before = desk.page.evaluate(shape)
    desk.page.mouse.down()
    desk.page.mouse.move(middle["x"] + 140, middle["y"] + 120)
    desk.page.mouse.up()
    assert desk.page.evaluate(shape) != before
    desk.press("s")
    assert desk.page.evaluate(shape) == ""
    assert desk.verdicts() == []


def test_what_is_around_an_image_is_shown_on_demand(sit: Sit) -> None:
    desk = sit("nina")
    desk.open()
    panel = desk.page.locator("#around")
    for key, title in (("d", "Near duplicates"), ("n", "Nearest neighbours"), ("i", "History")):
        desk.page.keyboard.press(key)
        expect(panel.get_by_role("heading")).to_have_text(title)
    expect(panel).to_contain_text("predicted")
    desk.page.keyboard.press("i")
    expect(panel).to_be_hidden()
    desk.page.keyboard.press("n")
    expect(panel.locator("img").first).to_be_visible(timeout=20_000)
    desk.press("s")
    expect(panel).to_be_hidden()

    guideline = desk.page.locator("#guideline")
    desk.page.keyboard.press("g")
    expect(guideline).to_be_visible()
    desk.page.keyboard.press("h")
    expect(guideline).to_be_hidden()
    desk.page.keyboard.down("h")
    expect(guideline).to_be_visible()
    desk.page.wait_for_timeout(500)
    desk.page.keyboard.up("h")
    expect(guideline).to_be_hidden()
    assert desk.verdicts() == []


def test_an_image_whose_file_is_gone_is_said_to_be_and_can_only_be_excluded_or_skipped(sit: Sit) -> None:
    desk = sit("blanca")
    desk.open(given="foggy", suggested="")
    expect(desk.page.get_by_text("This image cannot be loaded.")).to_be_visible()
    lost = desk.image
    for key in ("1", "2", "k", "Enter", "u"):
        desk.page.keyboard.press(key)
        expect(desk.page.locator("#hint")).to_have_text("this image cannot be seen: exclude it or skip it")
    assert desk.verdicts() == []

    desk.page.keyboard.press("x")
    expect(desk.page.get_by_role("heading", name="Nothing is left")).to_be_visible()
    assert desk.verdicts() == [(lost, "exclude", None)]
    desk.page.keyboard.press("z")
    desk.wait_until_ready()
    assert desk.image == lost


def test_two_people_are_never_shown_the_same_image(sit: Sit) -> None:
    desks = [sit("petra"), sit("paula")]
    for desk in desks:
        desk.open()
    enough = HOLD + 4
    for _ in range(4):
        for desk in desks:
            desk.press("k")
    deadline = time.monotonic() + 30
    one, other = set[int](), set[int]()
    while not len(one) == len(other) == enough and time.monotonic() < deadline:
        desks[0].page.wait_for_timeout(100)  # what was decided last is on its way, and makes room for more
        one, other = (set(desk.shown_images()) | desk.claims() for desk in desks)
    assert len(one) == len(other) == enough
    assert one.isdisjoint(other)


def test_past_the_daily_limit_only_the_image_on_the_screen_is_left_of_what_was_in_hand(
    sit: Sit, weather: Weather
) -> None:
    wish = "from labeling.actions.wellness import Wishes, set_comfort; from labeling.models import Person; "
    wish += "set_comfort(person=Person.objects.get(username='carla'), wishes=Wishes(daily_cap=1))"
    weather.site.command("shell", "--no-imports", "-c", wish)
    desk = sit("carla")
    desk.open(given="stormy", suggested="")
    assert len(desk.claims()) == HOLD
    first = desk.press("k")
    second = desk.image
    expect(desk.page.locator("#wellness")).to_contain_text("which is your limit")
    desk.page.wait_for_load_state("networkidle")
    assert desk.image == second
    desk.page.keyboard.press("k")
    expect(desk.page.locator("#shown")).to_have_count(0)
    assert [image for image, _, _ in desk.verdicts()] == [first, second]


def test_a_verdict_after_the_hold_ran_out_is_refused_in_words_and_the_work_goes_on(sit: Sit, weather: Weather) -> None:
    with hasty_server(weather.site) as base:
        slow = sit("ella", base=base)
        slow.page.goto(f"{base}/d/weather/review/?everything=1&given=calm")
        press_start(slow.page)
        image = slow.wait_until_ready()
        held = slow.claims()
        time.sleep(5.1)
        quick = sit("erna")
        quick.open(suggested="")
        assert quick.image == image, "what nobody holds any more goes to the next person"

        decided = [slow.image]
        slow.page.keyboard.press("2")
        slow.wait_until_ready(other_than=image)
        expect(slow.page.locator("#refused-count")).to_have_text("✕ 1 not saved")
        slow.page.locator("#refused-count").click()
        row = slow.page.locator("#refused-list li")
        expect(row).to_contain_text(f"Image {decided[0]}: foggy")
        expect(row).to_contain_text("Somebody else has taken this image")
        expect(row.locator("img")).to_be_visible()
        assert slow.verdicts() == []
        slow.page.reload()
        slow.page.locator("#refused-count").click()
        row.get_by_role("button", name="Dismiss").click()
        expect(slow.page.locator("#refused-count")).to_be_hidden()
        slow.wait_until_ready()
        assert slow.image not in held
        again = slow.press("k")
        assert slow.verdicts() == [(again, "keep", None)]


def test_runs_move_by_themselves_and_are_left_alone_when_they_are_done(sit: Sit, weather: Weather) -> None:
    desk = sit(ENGINEER)
    desk.page.goto(weather.url)
    desk.page.get_by_role("button", name="Find issues").click()
    moving = desk.page.locator(".run.state-queued, .run.state-running")
    expect(moving).to_have_count(1)
    run = moving.get_attribute("id")
    asked: list[str] = []
    desk.page.on("request", lambda sent: asked.append(sent.url) if sent.resource_type == "xhr" else None)
    expect(desk.page.locator(f"#{run}.state-done")).to_be_visible(timeout=20_000)
    expect(desk.page.locator(f"#{run} progress")).to_have_count(0)
    desk.page.wait_for_timeout(2_000)  # a poll is due every 1.5 seconds
    *polls, last = asked
    assert polls
    assert all(url.endswith("/progress/") for url in polls)
    assert last == weather.url, "the figures around the run are fetched once more, then nothing"


def test_outsiders_and_annotators_cannot_cut_a_release(sit: Sit, weather: Weather) -> None:
    releases_before = weather.site.rows("SELECT count(*) FROM labeling_release")
    for name, status, status_of_list, heading in (
        (OUTSIDER, 404, 404, "There is nothing here"),
        ("anton", 403, 200, "Your role does not allow this"),
    ):
        desk = sit(name)
        desk.page.goto(f"{weather.site.base}/me/")
        with desk.page.expect_navigation() as navigation:
            desk.page.evaluate(
                "action => { const form = document.querySelector('form'); form.action = action; form.submit() }",
                f"{weather.url}releases/cut/",
            )
        assert navigation.value is not None
        assert navigation.value.status == status
        expect(desk.page.get_by_role("heading", name=heading)).to_be_visible()
        expect(desk.page.get_by_role("link", name="Winnow")).to_be_visible()
        listed = desk.page.goto(f"{weather.url}releases/")
        assert listed is not None
        assert listed.status == status_of_list
        expect(desk.page.get_by_role("button", name="Cut the release")).to_have_count(0)
    assert weather.site.rows("SELECT count(*) FROM labeling_release") == releases_before
