"""From a key to the next image on the screen, in a real Chromium, while the server is far away.

A proxy on this machine holds every request back for the added delay. The page itself keeps the time: from the event of
the key to the frame after the one in which the next image was drawn, so the figures are an upper bound.
"""

import asyncio
import contextlib
import statistics
import threading
import time
from collections.abc import Iterator

from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.results import Row, show
from tests.browser.queue_site import QueueSite, queue_site
from tests.browser.site import CHROMIUM, NO_CHROMIUM, free_port, launch

KEYS = 100
PERSON = "anna"
# Added server delay in ms, keys a second: an eager reviewer (1,500 an hour is one in 2.4 s), and hammering.
CASES = ((20, 2.5), (300, 2.5), (20, 8.0), (300, 8.0))
_KEEP_TIME = """
  window.waited = [];
  let pressed = 0, before = null;
  const shown = () => document.querySelector("#focus[data-ready] #shown")?.getAttribute("src");
  addEventListener("keydown", (event) => { if (shown()) [pressed, before] = [event.timeStamp, shown()]; }, true);
  new MutationObserver(() => {
    if (!pressed || !shown() || shown() === before) return;
    window.waited.push(performance.now() - pressed);
    pressed = 0;
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-ready"] });
"""


def run() -> None:
    if CHROMIUM is None:
        print(NO_CHROMIUM)
        return
    with queue_site(images=KEYS * len(CASES) + 50, people=[PERSON], size=(640, 480)) as site:
        rows = [row for delay, rate in CASES for row in _measured(site, delay, rate)]
    show("From a key to the next image", rows)


def _measured(site: QueueSite, delay: int, rate: float) -> list[Row]:
    with _far_away(site.port, delay / 1000) as port, sync_playwright() as playwright:
        browser = launch(playwright)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.add_init_script(_KEEP_TIME)
        page = context.new_page()
        base = f"http://127.0.0.1:{port}"
        page.goto(base + site.sign_in_path(PERSON))
        page.get_by_role("button", name=f"Sign in as {PERSON}").click()
        page.goto(f"{base}/d/looks/review/")
        if page.locator("#claim").count():
            page.keyboard.press("Enter")
        expect(page.locator("#focus[data-ready] #shown")).to_be_visible()
        page.wait_for_timeout(2000)
        _type(page, rate)
        expect(page.locator('#save-state[data-pending="0"]')).to_have_count(1, timeout=60_000)
        waited: list[float] = page.evaluate("window.waited")
        browser.close()
    p95 = statistics.quantiles(waited, n=20)[-1]
    what = f"key → next image, server {delay} ms away, {rate:g} keys/s"
    how = f"{len(waited)} keys, 640×480 images"
    wanted = ("< 50 ms", "< 100 ms") if rate < 5 else ("", "")
    return [
        Row(f"{what}: median", f"{statistics.median(waited):.0f} ms", wanted[0], how),
        Row(f"{what}: p95", f"{p95:.0f} ms", wanted[1], f"worst {max(waited):.0f} ms"),
    ]


def _type(page: Page, rate: float) -> None:
    for _ in range(KEYS):
        began = time.monotonic()
        page.keyboard.press("k")
        page.wait_for_timeout(max(0.0, 1 / rate - (time.monotonic() - began)) * 1000)


@contextlib.contextmanager
def _far_away(port: int, seconds: float) -> Iterator[int]:
    """A port that leads to `port`, where everything that a client sends arrives `seconds` late, in order."""
    listening = free_port()
    loop = asyncio.new_event_loop()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)

        async def late() -> None:
            while sent := await reader.read(65_536):
                loop.call_later(seconds, to_writer.write, sent)
            loop.call_later(seconds, to_writer.close)

        async def at_once() -> None:
            while answered := await to_reader.read(65_536):
                writer.write(answered)
                await writer.drain()
            writer.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(late(), at_once())

    server = loop.run_until_complete(asyncio.start_server(connect, "127.0.0.1", listening))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield listening
    finally:
        loop.call_soon_threadsafe(server.close)
        for task in asyncio.all_tasks(loop):
            loop.call_soon_threadsafe(task.cancel)
        time.sleep(0.1)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
