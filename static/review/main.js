// Focus mode. A key decides the image on the screen, the next one is there in the same frame, and the decision goes to
// the server from the outbox (outbox.js). Three rules keep every decision on the image that was meant:
//   1. an image is decided only once it has been painted, and once: the key that decides it takes it off the screen;
//   2. a decision names its item, carries a key of its own, and stays in the outbox until the server has answered it;
//   3. what the page has shown is kept beside the decision, so that a ranking or another tab cannot change what it meant.
// Without this code the same page works by plain forms.

import { meaningOf } from "../keys.js";
import { announce, toggleShield } from "../page.js";
import { describe, element, fillAround, fillItem, thumbnail } from "./item_view.js";
import { newKey, Outbox, post } from "./outbox.js";
import { Pictures, Zoom } from "./pictures.js";

const PREPARED = 6; // what is shown, and the next five
const ENOUGH_AHEAD = PREPARED + 1;
const REFILL_RETRY_MS = [300, 600, 1000, 2000, 4000, 8000];
const FORGOTTEN_AFTER_MS = 5 * 60_000;
const LOOK_BACK = 200;
const LONG_PRESS_MS = 400;
const SWIPE_PX = 72;
const byId = (id) => document.getElementById(id);
const focusPart = byId("focus");
const { person, query } = focusPart.dataset;
const pageUrl = focusPart.dataset.page;
const slug = focusPart.dataset.part.split("?")[0];
const part = query ? `?${query}` : "";

const pictures = new Pictures();
const outbox = await Outbox.open(person);
outbox.inHand = () => inHand();
let zoom = null;
let items = []; // held and not decided; the first is on the screen
const past = []; // {item, key, words, refused} of what was decided here, oldest first
let lookingAt = null; // the one of `past` that is looked back at
let onScreen = null; // the item that the page shows now, whichever it is
let seenAt = null; // when it had been painted
let broken = false; // its image cannot be loaded, which the page says in its place
let holding = ""; // why no key may decide just now
let feed = "idle"; // of fetching items: idle, offline, failing, signed-out, gone
let feedWhy = "";
let leaving = null; // the form that goes once everything is saved
let going = false; // it has been sent
let lastWords = "";
let asking = null; // the item whose escalation is to be confirmed

// ---- what is on the screen ----------------------------------------------------------------------------------

function present() {
  const item = lookingAt?.item ?? items[0] ?? null;
  pictures.prepare(items.slice(0, PREPARED));
  if (item !== onScreen || !item) closePanel("around");
  if (asking && asking !== item) stopAsking();
  onScreen = item;
  seenAt = null;
  broken = false;
  focusPart.removeAttribute("data-ready");
  if (!byId("picture")) return;
  reveal(false);
  document.querySelector(".reveal-box").checked = false;
  document.querySelector("#picture .broken").hidden = true;
  focusPart.classList.toggle("looking-back", lookingAt !== null);
  byId("past").hidden = lookingAt === null;
  byId("picture").classList.toggle("empty", !item);
  tellWaiting();
  if (!item) return announce("Waiting for the next images.");
  fillItem(item, `${pageUrl}${item.item}/separate/${part}`);
  if (lookingAt) byId("past").textContent = `You decided: ${lookingAt.words}. Z takes it back, → goes on.`;
  const picture = pictures.of(item);
  place(picture, item);
  if (picture.state === "loading") picture.settled.then(() => onScreen === item && painted(picture, item));
  else painted(picture, item);
  if (lookingAt) announce(byId("past").textContent);
  else announce(item.blind ? "Next image." : `Next: given ${item.given.name}, suggested ${item.suggested.name}.`);
}

function place(picture, item) {
  const image = picture.element;
  image.id = "shown";
  image.width = item.width;
  image.height = item.height;
  image.alt = describe(item);
  image.style.transform = "";
  const before = byId("shown");
  if (before !== image) {
    if (before) before.replaceWith(image);
    else byId("picture").prepend(image);
  }
  zoom.reset();
}

// Two frames: the first one is drawn with the image in it, at the second one it has been.
function painted(picture, item) {
  if (byId("shown") !== picture.element) place(picture, item);
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      if (onScreen !== item || seenAt !== null) return;
      seenAt = performance.now();
      broken = picture.state === "broken";
      document.querySelector("#picture .broken").hidden = !broken;
      if (broken && byId("broken-path")) byId("broken-path").textContent = item.path ?? "";
      if (!lookingAt) focusPart.dataset.ready = "yes";
    }),
  );
}

function tellWaiting() {
  const waiting = byId("waiting");
  if (!waiting) return;
  waiting.hidden = onScreen !== null;
  const onTheirWay = outbox.pending ? ` ${count(outbox.pending, "decision")} on the way.` : "";
  if (feed === "gone") waiting.textContent = feedWhy;
  else if (feed === "idle") waiting.textContent = `Fetching the next images.${onTheirWay}`;
  else waiting.textContent = `Waiting for the server to hand out the next images.${onTheirWay}`;
}

// The start of a part of the queue gives way to its first image.
function openStage() {
  if (!byId("picture")) {
    focusPart.querySelector(".start").replaceWith(byId("item-template").content.cloneNode(true));
    byId("leave").hidden = false;
    byId("away").hidden = true;
    history.replaceState(null, "", pageUrl + part);
  }
  const picture = byId("picture");
  if (zoom === null) {
    zoom = new Zoom(picture);
    watchSwipes(picture);
  }
}

// ---- the next items -----------------------------------------------------------------------------------------

// Item → when the server had answered its decision, by our own clock; null while it has not. Only an answer to a
// question asked after that can offer the item again, as when somebody reopened it.
const decided = new Map();
let clock = 0;
const inHand = () => [...items, ...past.filter((act) => !act.escalated).map((act) => act.item)].map(({ item }) => item);

let refilling = null;
let refillAgain = false;
let refillFailures = 0;
let refillTimer = 0;
let doubted = "";
let capped = false; // this person has seen as many sensitive images today as they want to
let heardAt = performance.now();

const stillOnTheWay = () => [
  ...new Set([
    ...[...decided].filter(([, answered]) => answered === null).map(([item]) => item),
    ...outbox.waiting.filter((entry) => entry.decision !== "undo").map((entry) => entry.item),
  ]),
];

// `doubt`: what in hand is not held any more is dropped by the answer: "all", or only what is "ahead" of the screen.
function refill({ doubt = "" } = {}) {
  doubted ||= doubt;
  if (refilling) {
    refillAgain = true;
    return refilling;
  }
  clearTimeout(refillTimer);
  refilling = fetchItems().finally(() => {
    refilling = null;
    if (refillAgain) {
      refillAgain = false;
      refill();
    }
  });
  return refilling;
}

async function fetchItems() {
  const askedAt = ++clock;
  const doubt = doubted;
  const known = items.map(({ item }) => item);
  const asked = { decided: stillOnTheWay(), known, held: inHand() };
  const { status, body } = await post(focusPart.dataset.next, person, asked);
  if (status === 200) {
    refillFailures = 0;
    heardAt = performance.now();
    if (doubted === doubt) doubted = "";
    become("idle");
    return take(body, askedAt, doubt);
  }
  if (status === 401 || (status === 403 && !body?.why)) become("signed-out", body?.why);
  else if (status === 403 || status === 410) return become("gone", body.why);
  else become(status === 0 ? "offline" : "failing", `the server failed (${status})`);
  refillFailures += 1;
  refillTimer = setTimeout(refill, REFILL_RETRY_MS[Math.min(refillFailures, REFILL_RETRY_MS.length) - 1]);
}

// What somebody escalated is gone for everybody, whoever has it in hand or looks back at it.
function letGo(gone) {
  for (const one of [...items, ...past.map((act) => act.item)]) if (gone.has(one.item)) pictures.forget(one);
  items = items.filter((held) => !gone.has(held.item));
  past.splice(0, past.length, ...past.filter((act) => act.escalated || !gone.has(act.item.item)));
  takenBack.splice(0, takenBack.length, ...takenBack.filter((act) => !act || !gone.has(act.item.item)));
  if (lookingAt && gone.has(lookingAt.item.item)) lookingAt = null;
}

function take({ items: offered, progress, gone = [] }, askedAt, doubt = "") {
  tally(progress);
  if (gone.length) letGo(new Set(gone));
  const open = offered.filter(({ item }) => !decided.has(item) || (decided.get(item) ?? Infinity) < askedAt);
  for (const { item } of open) decided.delete(item);
  if (doubt) {
    const stays = new Set(outbox.waiting.filter((entry) => entry.decision === "undo").map((entry) => entry.item));
    if (doubt === "ahead" && onScreen) stays.add(onScreen.item);
    items = items.filter((held) => stays.has(held.item) || open.some((one) => one.item === held.item));
  }
  const known = new Set(items.map((held) => held.item));
  // One without a picture was in hand when this was asked for, and is not any more: the next answer tells about it.
  items.push(...open.filter((one) => !known.has(one.item) && one.src));
  if (lookingAt) pictures.prepare(items.slice(0, PREPARED));
  else if (items[0] !== onScreen) present();
  else pictures.prepare(items.slice(0, PREPARED));
  if (items.length || offered.length) return;
  if (outbox.pending) tellWaiting(); // an answer to one of them may bring more
  else if (!holding && byId("picture")) end();
}

// Nothing is left here: the server's own page says what to do next.
function end() {
  const done = new URLSearchParams(query);
  done.set("done", "1");
  location.replace(`${pageUrl}?${done}`);
}

function become(state, why = "") {
  feed = state;
  feedWhy = why ?? "";
  tellWaiting();
  showState();
}

// ---- deciding -----------------------------------------------------------------------------------------------

function reasonToWait(button) {
  if (holding) return holding;
  if (!onScreen) return "one moment, waiting for the next images";
  if (lookingAt) return "already decided: Z takes it back, → goes on";
  if (seenAt === null) return "one moment, the image is loading";
  if (broken && !button.hasAttribute("data-unseen")) return "this image cannot be seen: exclude it or skip it";
  return "";
}

function decide(button, note = "") {
  const wait = reasonToWait(button);
  if (wait) return hint(wait);
  takenBack.length = 0;
  give(button.value, note);
}

function give(decision, note = "") {
  const item = items[0];
  const key = newKey();
  const words = wordsOf(decision, item);
  const escalated = decision === "escalate";
  const entry = {
    ...{ key, item: item.item, image: item.image, decision, blind: item.blind, words, dataset: slug },
    url: focusPart.dataset.verdicts,
    seconds: ((performance.now() - seenAt) / 1000).toFixed(2),
    // Of an escalated image nothing is kept to be shown again.
    ...(escalated ? { note, shown: null } : { shown: item }),
    ...(item.blind || escalated ? {} : { shown_suggestion: item.suggested.name, shown_quality: String(item.quality) }),
  };
  const shown = escalated ? { item: item.item } : item;
  const act = { item: shown, key, words, decision, escalated, refused: false, skip: decision === "skip" };
  past.push(act);
  if (past.length > LOOK_BACK) past.shift();
  decided.set(item.item, null);
  items.shift();
  backKey = null;
  if (escalated) {
    pictures.forget(item);
    byId("shown").replaceWith(element("img", { id: "shown", alt: "" }));
  }
  present();
  document.querySelector(".stage-notice.problem")?.remove();
  if (focusPart.contains(document.activeElement)) toKeys();
  outbox.add(entry).catch((error) => {
    // The browser would not keep it (its disk is full, say): as if the key had not been pressed.
    past.splice(past.indexOf(act), 1);
    decided.delete(item.item);
    items.unshift(item);
    lookingAt = null;
    present();
    hint(`not kept: ${error.message}`);
  });
  if (items.length < ENOUGH_AHEAD) refill();
}

// ---- escalating ---------------------------------------------------------------------------------------------

// Asked once, as nobody takes it back alone; then it goes the way of every decision, and is as safe from being lost.
function askToEscalate(button) {
  const wait = reasonToWait(button);
  if (wait) return hint(wait);
  asking = items[0];
  byId("escalation-note").value = "";
  togglePanel("escalation", true);
  byId("escalation-yes").focus({ preventScroll: true });
  announce("Escalate this image? E escalates, Escape goes back.");
}

function stopAsking() {
  asking = null;
  closePanel("escalation");
  toKeys();
}

function escalate() {
  const note = byId("escalation-note").value.trim();
  if (asking !== items[0]) return stopAsking();
  stopAsking();
  decide(focusPart.querySelector("button[value=escalate]"), note);
}

// While it is asked, only the answer counts: no other key may decide the image meanwhile.
function answerKey(event) {
  if (!asking) return false;
  const key = keyOf(event);
  const control = event.target instanceof Element ? event.target.closest("#escalation button, #escalation input") : null;
  const writes = control?.matches("input") && event.key.length === 1;
  const presses = control?.matches("button") && (key === "enter" || key === "space");
  if (writes || presses || event.key === "Tab") return true;
  if (key === "escape") stopAsking();
  else if (!event.repeat && (key === "e" || key === "enter")) escalate();
  else if (control) return true;
  event.preventDefault();
  return true;
}

const toKeys = () => focusPart.focus({ preventScroll: true });

function wordsOf(decision, item) {
  if (decision === "keep") return `keep ${item.given.name}`;
  return decision.replace("relabel:", "");
}

// ---- taking back, and looking back --------------------------------------------------------------------------

let backKey = null; // of a request to take back that was not answered yet
let redoKey = null; // of one to put back
const takenBack = []; // what Z took back since the last decision, newest last; null where the server knew what

async function undo() {
  if (holding) return hint(holding);
  const act = lookingAt ?? past.findLast((one) => !one.skip);
  if (!act) return undoOnServer();
  if (act.skip) return hint("a skipped image comes back by itself");
  if (act.escalated && !act.refused) return hint("an escalation is not taken back: only two authorised people release it");
  lookingAt = null;
  past.splice(past.indexOf(act), 1);
  if (act.refused) {
    present();
    return hint("that one was not saved, so there is nothing to take back");
  }
  holding = "one moment, taking it back";
  try {
    if (!(await outbox.takeOut(act.key))) {
      const { item, image } = act.item;
      await outbox.add({
        ...{ key: newKey(), decision: "undo", undoes: act.key, item, image, dataset: slug },
        ...{ words: `undo ${act.words}`, shown: act.item, url: focusPart.dataset.verdicts },
      });
    }
  } finally {
    holding = "";
  }
  takenBack.push(act);
  decided.delete(act.item.item);
  items = [act.item, ...items.filter((one) => one.item !== act.item.item)];
  openStage();
  present();
  lastWords = "undone";
  showState();
}

// What was taken back here is decided again as it was; what was taken back before, only the server knows.
async function redo() {
  if (holding) return hint(holding);
  const act = takenBack.at(-1);
  if (!act) return redoOnServer();
  if (lookingAt || items[0]?.item !== act.item.item) return hint("that image is not on the screen any more");
  if (seenAt === null) return hint("one moment, the image is loading");
  takenBack.pop();
  give(act.decision);
}

// What was decided before this page was opened, yesterday's too, only the server knows.
async function undoOnServer() {
  backKey ??= newKey();
  const status = await askServer("back", backKey, { busy: "undoing", done: "undone: this image is open again", press: "Z" });
  if (status === 200 || status === 409) backKey = null;
  if (status === 200) takenBack.push(null);
}

async function redoOnServer() {
  redoKey ??= newKey();
  const status = await askServer("redo", redoKey, { busy: "putting back", done: "put back: your verdict stands again", press: "Shift+Z" });
  if (status === 200 || status === 409) redoKey = null;
  if (status === 200) takenBack.pop();
}

async function askServer(what, key, { busy, done, press }) {
  if (outbox.pending) {
    hint(`one moment, ${count(outbox.pending, "decision")} on the way first`);
    return null;
  }
  holding = `one moment, ${busy}`;
  say("busy", `… ${busy}`);
  const { status, body } = await post(focusPart.dataset[what], person, { key, decided: [] });
  holding = "";
  if (status === 200) {
    for (const { item } of body.items) decided.delete(item);
    items = body.items;
    openStage();
    present();
    tally(body.progress);
    lastWords = done;
    showState();
    return status;
  }
  const why = status === 401 ? "you are signed out; sign in in another tab" : status === 0 ? "no connection" : body?.why;
  say("bad", `✕ not done: ${why ?? `the server failed (${status})`}${status === 409 ? "" : ` – press ${press} again`}`);
  announce(byId("save-state").textContent);
  return status;
}

function look(step) {
  if (holding || !byId("picture")) return;
  const seen = past.filter((act) => !act.escalated);
  const at = lookingAt ? seen.indexOf(lookingAt) : seen.length;
  const to = at + step;
  if (to < 0) return hint(seen.length ? "this is the first of this visit; Z takes back older ones" : "nothing was decided in this visit");
  if (to > seen.length) return hint("this is the newest");
  lookingAt = seen[to] ?? null;
  present();
}

// ---- what the outbox tells ----------------------------------------------------------------------------------

outbox.addEventListener("change", () => {
  showState();
  tellWaiting();
  listRefused();
  if (leaving && !outbox.pending) leave();
});

outbox.addEventListener("answered", ({ detail: { entry, result } }) => {
  if (entry.dataset !== slug) return;
  if (result.status === 200) {
    if (entry.decision !== "undo" && decided.get(entry.item) === null) decided.set(entry.item, ++clock);
    const words = result.words.replace("Saved: ", "").replace(/\.$/, "");
    lastWords = words[0].toLowerCase() + words.slice(1);
  } else {
    const act = past.find((one) => one.key === entry.key);
    if (act) act.refused = true;
    decided.delete(entry.item);
    if (entry.decision === "undo" && items.some((one) => one.item === entry.item)) {
      items = items.filter((one) => one.item !== entry.item);
      if (!lookingAt) present();
    }
    announce(`Not saved: ${result.why}`);
    // Whoever took it may have taken what was held with it.
    doubted ||= "ahead";
  }
  showState();
  if (items.length < ENOUGH_AHEAD || doubted) refill();
});

outbox.addEventListener("progress", ({ detail }) => {
  if (detail.url !== focusPart.dataset.verdicts) return;
  tally(detail.progress);
  if (!detail.gone.length) return;
  letGo(new Set(detail.gone));
  if (!lookingAt && items[0] !== onScreen) present();
});

// Another tab of this person has the same images in hand.
outbox.addEventListener("decided", ({ detail }) => {
  if (!items.some((one) => one.item === detail)) return;
  decided.set(detail, null);
  items = items.filter((one) => one.item !== detail);
  if (!lookingAt && onScreen?.item === detail) present();
  refill();
});

function showState() {
  const waiting = outbox.pending;
  const state = waiting && outbox.state !== "idle" && outbox.state !== "sending" ? outbox.state : feed;
  const wait = waiting ? `, ${waiting} wait${waiting === 1 ? "s" : ""}` : "";
  if (state === "signed-out") {
    say("bad", `✕ signed out – sign in in another tab; ${waiting ? `${count(waiting, "verdict")} wait${waiting === 1 ? "s" : ""}` : "nothing is lost"}`);
  } else if (state === "offline") say("busy", `◌ offline${wait}`);
  else if (state === "failing") say("busy", `◌ ${outbox.why || feedWhy}${wait}`);
  else if (waiting) say("busy", `… sending ${waiting}`);
  else if (state === "gone") say("bad", `✕ ${feedWhy}`);
  else if (lastWords) say("good", `✓ ${lastWords}`);
  byId("save-state").dataset.pending = waiting;
  const stuck = state === "signed-out" || state === "offline" || state === "failing";
  byId("retry").hidden = !stuck;
  byId("sign-in").hidden = state !== "signed-out";
  byId("not-lasting").hidden = outbox.lasting;
}

function listRefused() {
  const { refused } = outbox;
  byId("refused-count").hidden = !refused.length;
  byId("refused-count").textContent = `✕ ${refused.length} not saved`;
  if (!refused.length) closePanel("refused");
  byId("refused-list").replaceChildren(...refused.map(refusedRow));
}

function refusedRow(entry) {
  const button = (act, text) => element("button", { type: "button", class: "quiet", "data-refused": act, value: entry.key }, text);
  return element(
    "li",
    {},
    entry.shown ? thumbnail(entry.shown, { size: 64, shielded: entry.shown.shielded, alt: `Image ${entry.image}` }) : element("span", {}),
    element("p", {}, element("b", {}, `Image ${entry.image}: ${entry.words}`), element("br"), entry.why),
    element("p", { class: "actions" }, button("again", "Try again"), button("dismiss", "Dismiss")),
  );
}

function say(kind, text) {
  const state = byId("save-state");
  if (state.textContent === text) return;
  state.className = `save-state ${kind}`;
  state.textContent = text;
}

let hintTimer = 0;
function hint(why) {
  const line = byId("hint");
  line.textContent = why;
  line.hidden = false;
  clearTimeout(hintTimer);
  hintTimer = setTimeout(() => (line.hidden = true), 2500);
  announce(why);
}

function tally(progress) {
  if (!progress) return;
  // What is left in hand was fetched before the limit was reached.
  if (progress.capped && !capped) refill({ doubt: "ahead" });
  capped = progress.capped;
  byId("wellness").textContent = progress.notice;
  byId("wellness").hidden = !progress.notice;
  const number = (value) => value.toLocaleString("en");
  byId("tally").replaceChildren(
    element("b", {}, number(progress.settled)),
    ` of ${number(progress.total)}${progress.an_hour ? ` · ${number(progress.an_hour)}/h` : ""}`,
  );
  byId("bar").max = progress.total || 1;
  byId("bar").value = progress.settled;
}

const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

// ---- forms, buttons -----------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target;
  const pressed = event.submitter;
  const acts = { decide: () => decide(pressed), skip: () => decide(pressed), escalate: () => askToEscalate(pressed), undo, redo, claim: start };
  const act = acts[form.id];
  if (act) {
    event.preventDefault();
    act();
  } else if (form.id === "leave" || form.id === "separate") {
    if (!outbox.pending || leaving === form) return go();
    event.preventDefault();
    leaving = form;
    holding = "leaving as soon as everything is saved; once more leaves at once";
    hint(holding);
  }
});

// Everything is saved, so the form that waited for it may go: once, as a second time would abort the first.
function leave() {
  const form = leaving;
  go();
  form.submit();
}

function go() {
  leaving = null;
  going = true;
}

async function start() {
  hint("one moment, fetching the first images");
  await refill();
  if (items.length) {
    openStage();
    byId("hint").hidden = true;
    present();
    toKeys();
  } else if (feed === "idle") end();
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("button");
  if (!target) return;
  if (target.id === "retry") retry();
  else if (target.id === "escalation-yes") escalate();
  else if (target.id === "escalation-no") stopAsking();
  else if (target.id === "dismiss-all") outbox.refused.forEach((entry) => outbox.dismiss(entry.key));
  else if (target.dataset.refused) outbox[target.dataset.refused](target.value);
  else if (target.dataset.around) lookAround(target.dataset.around);
  else if (target.dataset.panel) togglePanel(target.dataset.panel);
  else return;
  if (event.detail) target.blur(); // pressed with a pointer: Enter goes back to meaning "accept"
});

function retry() {
  outbox.wake();
  refill();
}

window.addEventListener("online", retry);
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !byId("picture")) return;
  // After a long pause others may have taken what was held.
  refill({ doubt: performance.now() - heardAt > FORGOTTEN_AFTER_MS ? "all" : "" });
});
window.addEventListener("focus", () => feed === "signed-out" && retry());
window.addEventListener("beforeunload", (event) => {
  if (outbox.pending && !going) event.preventDefault();
});

// ---- panels -------------------------------------------------------------------------------------------------

function togglePanel(id, open = byId(id).hidden) {
  if (id !== "escalation" || !open) asking = null;
  for (const panel of document.querySelectorAll(".side-panel")) panel.hidden = panel.id !== id || !open;
  for (const button of document.querySelectorAll("[data-panel]")) {
    button.setAttribute("aria-expanded", String(button.dataset.panel === id && open));
  }
}

function closePanel(id) {
  if (!byId(id).hidden) togglePanel(id, false);
}

let around = ""; // which of them is open

async function lookAround(what) {
  const item = onScreen;
  if (!item) return;
  if (item.blind) return hint("blind: what is around this image is not shown");
  if (!byId("around").hidden && around === what) return closePanel("around");
  around = what;
  fillAround({ title: "One moment", empty: "Looking it up." });
  togglePanel("around", true);
  const url = `${pageUrl}${item.item}/${what}/${part}`;
  const current = () => onScreen === item && around === what && !byId("around").hidden;
  for (let tries = 0; current(); tries += 1) {
    const answer = await fetch(url, { headers: { "X-Winnow-Person": person } })
      .then(async (got) => (got.ok ? got.json() : { title: "Not shown", empty: (await got.json()).why }))
      .catch(() => ({ title: "Not shown", empty: "There is no connection." }));
    if (!current()) return;
    if (!answer.preparing) return fillAround(answer);
    fillAround({ ...answer, empty: "The neighbours are being made ready; the first time takes a moment." });
    await new Promise((resolve) => setTimeout(resolve, Math.min(1000 * 2 ** tries, 8000)));
  }
}

// ---- keys ---------------------------------------------------------------------------------------------------

function keyOf(event) {
  if (event.key === "Enter" || event.key === "Escape") return event.key.toLowerCase();
  if (event.key === " ") return "space";
  if (event.key.length !== 1) return "";
  if (event.key === "?") return event.key;
  // Other scripts: the letter that stands at this place on a Latin keyboard.
  const letter = /[a-z0-9]/i.test(event.key) ? event.key : /^Key[A-Z]$/.test(event.code) ? event.code.slice(3) : "";
  return letter && (event.shiftKey && /[a-z]/i.test(letter) ? "shift+" : "") + meaningOf(letter);
}

const isText = (target) =>
  target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox], [type=radio])");
const takesKey = (target, key) =>
  (key === "enter" || key === "space") && target.matches("a, button, summary, input, label, [role=button]");

const ZOOM_KEYS = { "+": 1.25, "=": 1.25, "-": 0.8 };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function lookKey(event) {
  if (!byId("picture")) return false;
  const arrow = ARROWS[event.key];
  if (ZOOM_KEYS[event.key]) zoom.by(ZOOM_KEYS[event.key]);
  else if (arrow && event.shiftKey) zoom.pan(arrow[0] / 8, arrow[1] / 8);
  else if (arrow && arrow[0]) look(arrow[0]);
  else return false;
  event.preventDefault();
  return true;
}

let glancing = 0; // since when the key of the guideline is held

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (answerKey(event) || isText(target) || lookKey(event)) return;
  const key = keyOf(event);
  if (!key || takesKey(target, key)) return;
  if (key === "space") {
    event.preventDefault(); // the page must not scroll either while the key repeats
    if (!event.repeat) reveal(true);
    return;
  }
  if (event.repeat) return;
  if (key === "b") return blur();
  const panel = document.querySelector(".side-panel:not([hidden])");
  if (key === "escape" && panel) return togglePanel(panel.id, false);
  const button = focusPart.querySelector(`[data-keys~="${CSS.escape(key)}"]:not([hidden], [hidden] *)`);
  if (!button) return;
  event.preventDefault();
  if (button.dataset.panel === "guideline") glancing = performance.now();
  button.click();
});

document.addEventListener("keyup", (event) => {
  if (event.key === " ") reveal(false);
  if (glancing && /^[gh]$/.test(meaningOf(event.key))) {
    if (performance.now() - glancing > LONG_PRESS_MS) closePanel("guideline");
    glancing = 0;
  }
});
window.addEventListener("blur", () => reveal(false));

// ---- touch --------------------------------------------------------------------------------------------------

// Right accepts the suggestion, left keeps the given label, up skips.
function watchSwipes(picture) {
  let from = null;
  picture.addEventListener("pointerdown", (event) => {
    const single = event.pointerType === "touch" && event.isPrimary && zoom.whole && !event.target.closest(".reveal");
    from = single ? event : null;
  });
  picture.addEventListener("pointercancel", () => (from = null));
  picture.addEventListener("pointerup", (event) => {
    if (!from) return;
    const [right, down] = [event.clientX - from.clientX, event.clientY - from.clientY];
    from = null;
    const across = Math.abs(right) > 2 * Math.abs(down);
    const key = across && right > SWIPE_PX ? "enter" : across && right < -SWIPE_PX ? "k" : down < -SWIPE_PX && !across ? "s" : "";
    if (key) focusPart.querySelector(`.answers [data-keys~="${key}"]`)?.click();
  });
}

// ---- reveal, shield -----------------------------------------------------------------------------------------

let counted = null; // the item whose reveal was counted, once however often it is looked at

function reveal(on) {
  const picture = byId("picture");
  picture?.classList.toggle("revealed", on);
  const item = items[0]?.item;
  const hidden = picture?.classList.contains("shielded") && document.documentElement.dataset.shield === "on";
  if (!on || !hidden || item === undefined || counted === item) return;
  counted = item;
  const form = byId("reveal-form");
  // A look that could not be counted is no reason to stop anybody.
  fetch(form.action, { method: "POST", body: new FormData(form), keepalive: true }).catch(() => {});
}

let touchedAt = 0;
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest(".reveal")) return;
  touchedAt = performance.now();
  reveal(true);
});
for (const type of ["pointerup", "pointercancel"]) document.addEventListener(type, () => reveal(false));
document.addEventListener("change", (event) => {
  if (event.target.matches(".reveal-box") && event.target.checked) reveal(true);
});
document.addEventListener("click", (event) => {
  // A long touch was a look; a short one keeps the image revealed.
  if (event.target.closest(".reveal") && event.detail && performance.now() - touchedAt > LONG_PRESS_MS) event.preventDefault();
});
document.addEventListener("contextmenu", (event) => {
  if (event.target.closest(".reveal")) event.preventDefault();
});

async function blur() {
  const { on, saved } = await toggleShield();
  if (!saved) hint(`blur is ${on ? "on" : "off"} here, but this was not saved`);
}

// ---- begin --------------------------------------------------------------------------------------------------

// A page that comes back from the browser's memory may show an image that was decided since.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

for (const entry of outbox.waiting) {
  if (entry.dataset !== slug) continue;
  if (entry.decision === "undo") {
    const undone = past.findIndex((act) => act.key === entry.undoes);
    if (undone >= 0) past.splice(undone, 1);
  } else {
    decided.set(entry.item, null);
    const { key, words, decision } = entry;
    const escalated = decision === "escalate";
    const item = entry.shown ?? { item: entry.item };
    past.push({ item, key, words, decision, escalated, refused: false, skip: decision === "skip" });
  }
}
items = JSON.parse(byId("item-template").dataset.held).filter(({ item }) => !decided.has(item));
if (byId("picture")) {
  openStage();
  present();
  refill();
} else {
  document.querySelector("#claim [autofocus]")?.focus({ preventScroll: true });
}
showState();
listRefused();
outbox.start();
