// Focus mode by keyboard. A key presses the button that carries it, so forms stay the one source of truth, and
// three rules keep every verdict on the image that was meant:
//   1. while a request is on its way, nothing else is sent;
//   2. nothing is decided about an image that is not on the screen yet;
//   3. a verdict that could not be saved stays, with its key, until the server has it. Sending it twice is harmless.

const RETRY_SECONDS = [1, 2, 4, 8, 15, 30];
const LONG_TOUCH_MS = 400;
const byId = (id) => document.getElementById(id);
const focusPart = () => byId("focus");

let sending = null; // the button whose form is on its way
let unsaved = null; // {button, attempts, timer} of what the server does not have yet
let seenAt = null; // when the image on the screen could first be seen
let broken = false; // the image could not be loaded, which the page says in its place

// ---- what is on the screen ----------------------------------------------------------------------------------

async function watchImage() {
  seenAt = null;
  broken = false;
  const image = byId("shown");
  if (!image) return;
  try {
    await image.decode();
  } catch {
    if (image !== byId("shown")) return;
    // decode() also refuses what the browser shows all the same.
    broken = image.complete && image.naturalWidth === 0;
    if (!image.complete) return; // `load` or `error` will follow
  }
  requestAnimationFrame(() => requestAnimationFrame(() => shown(image)));
}

function shown(image) {
  if (image !== byId("shown") || seenAt !== null) return;
  seenAt = performance.now();
  focusPart().dataset.ready = "yes";
  if (broken) document.querySelector("#picture .broken").hidden = false;
}

for (const type of ["load", "error"]) {
  document.addEventListener(
    type,
    (event) => {
      if (event.target.id !== "shown" || seenAt !== null) return;
      broken = type === "error";
      shown(event.target);
    },
    true,
  );
}

// ---- what may be sent ---------------------------------------------------------------------------------------

function reasonToWait(form, button) {
  if (unsaved && button !== unsaved.button) return "the last verdict is not saved yet";
  if (sending) return "one moment, still sending";
  if (!form.hasAttribute("data-needs-sight")) return "";
  if (seenAt === null) return "one moment, the image is loading";
  if (broken && !button?.hasAttribute("data-blind")) return "this image cannot be seen: exclude it or skip it";
  return "";
}

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (!form.closest("#focus") || form.method === "get") return;
    const button = event.submitter;
    const wait = reasonToWait(form, button);
    if (wait) {
      event.preventDefault();
      event.stopImmediatePropagation();
      held(wait);
      return;
    }
    sending = button;
    const seconds = form.elements.seconds;
    if (seconds && !seconds.value && seenAt !== null) seconds.value = ((performance.now() - seenAt) / 1000).toFixed(2);
  },
  true,
);

function held(why) {
  const state = byId("save-state");
  state.classList.add("held");
  if (!unsaved) state.textContent = why;
  setTimeout(() => state.classList.remove("held"), 600);
  announce(why);
}

// ---- sending ------------------------------------------------------------------------------------------------

const ours = (event) => event.detail.elt instanceof Element && event.detail.elt.closest("#focus");

document.addEventListener("htmx:configRequest", (event) => {
  // Signing in again in another tab renews the token; the cookie always has the one that counts.
  const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1];
  if (!token) return;
  event.detail.headers["X-CSRFToken"] = token;
  if (event.detail.parameters.csrfmiddlewaretoken) event.detail.parameters.csrfmiddlewaretoken = token;
});

document.addEventListener("htmx:beforeRequest", (event) => {
  if (!ours(event)) return;
  focusPart().setAttribute("aria-busy", "true");
  say("busy", unsaved ? "… sending again" : "… sending");
});

document.addEventListener("htmx:beforeSwap", (event) => {
  if (!ours(event) || event.detail.isError) return;
  const answer = event.detail.xhr;
  const page = new URL(answer.responseURL || location.href, location.href).pathname;
  if (page !== new URL(event.detail.requestConfig.path, location.href).pathname) {
    // The server sent us to the sign-in page instead of doing what was asked.
    event.detail.shouldSwap = false;
    notSaved("you are signed out. Sign in in another tab, then press Retry now", false);
  }
});

// Not after the swap: htmx takes charge of the new forms only when it settles, and until then they would post the
// whole page.
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id !== "focus" || focusPart().dataset.settled) return;
  focusPart().dataset.settled = "yes";
  clearTimeout(unsaved?.timer);
  unsaved = null;
  sending = null;
  const part = focusPart();
  const start = part.querySelector("[autofocus]");
  (start ?? part).focus({ preventScroll: true });
  announce(part.dataset.announce);
  watchImage();
});

document.addEventListener("htmx:sendError", (event) => ours(event) && notSaved("no connection", true));
document.addEventListener("htmx:timeout", (event) => ours(event) && notSaved("no answer", true));
document.addEventListener("htmx:responseError", (event) => {
  if (!ours(event)) return;
  const status = event.detail.xhr.status;
  const passing = status >= 500 || status === 429 || status === 408;
  notSaved(passing ? `the server failed (${status})` : `the server refused it (${status}); reload the page`, passing);
});

function notSaved(why, again) {
  const button = sending ?? unsaved?.button;
  sending = null;
  focusPart().removeAttribute("aria-busy");
  clearTimeout(unsaved?.timer);
  unsaved = { button, attempts: (unsaved?.attempts ?? 0) + 1, timer: 0 };
  byId("retry").hidden = false;
  if (!again) {
    say("bad", `✕ not saved: ${why}`);
  } else {
    const seconds = RETRY_SECONDS[Math.min(unsaved.attempts, RETRY_SECONDS.length) - 1];
    say("bad", `✕ not saved (${why}) — retrying in ${seconds} s`);
    unsaved.timer = setTimeout(retry, seconds * 1000);
  }
  announce(byId("save-state").textContent);
}

function retry() {
  if (!unsaved || sending) return;
  clearTimeout(unsaved.timer);
  unsaved.button.click();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("#retry")) retry();
});
window.addEventListener("online", retry);
window.addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});

function say(kind, text) {
  const state = byId("save-state");
  state.className = `save-state ${kind}`;
  state.textContent = text;
}

function announce(text) {
  const region = byId("announce");
  // The same words twice in a row are read twice only if the region was empty in between.
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 30);
}

// ---- keys ---------------------------------------------------------------------------------------------------

function keyOf(event) {
  if (event.key === "Enter" || event.key === "Escape") return event.key.toLowerCase();
  if (event.key === " ") return "space";
  if (event.key.length !== 1) return "";
  if (/[0-9?]/.test(event.key)) return event.key;
  if (event.shiftKey) return "";
  if (/[a-z]/i.test(event.key)) return event.key.toLowerCase();
  // Other scripts: the letter that stands at this place on a Latin keyboard.
  return /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : "";
}

const isText = (element) =>
  element.isContentEditable || element.matches("textarea, select, input:not([type=checkbox], [type=radio])");
const takesKey = (element, key) =>
  (key === "enter" || key === "space") && element.matches("a, button, summary, input, label, [role=button]");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (isText(target)) return;
  const key = keyOf(event);
  if (!key || takesKey(target, key)) return;
  if (key === "space") {
    event.preventDefault(); // the page must not scroll either while the key repeats
    if (!event.repeat) reveal(true);
    return;
  }
  if (event.repeat) return;
  if (key === "b") return toggleShield();
  if (key === "escape" && !byId("help").hidden) return toggleHelp(false);
  const button = focusPart().querySelector(`[data-keys~="${CSS.escape(key)}"]`);
  if (!button) return;
  event.preventDefault();
  button.click();
});

document.addEventListener("keyup", (event) => {
  if (event.key === " ") reveal(false);
});
window.addEventListener("blur", () => reveal(false));

// ---- reveal, shield, help -----------------------------------------------------------------------------------

function reveal(on) {
  byId("picture")?.classList.toggle("revealed", on);
}

let touchedAt = 0;
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest(".reveal")) return;
  touchedAt = performance.now();
  reveal(true);
});
for (const type of ["pointerup", "pointercancel"]) document.addEventListener(type, () => reveal(false));
document.addEventListener("click", (event) => {
  // A long touch was a look; a short one keeps the image revealed.
  if (event.target.closest(".reveal") && event.detail && performance.now() - touchedAt > LONG_TOUCH_MS) event.preventDefault();
});
document.addEventListener("contextmenu", (event) => {
  if (event.target.closest(".reveal")) event.preventDefault();
});

async function toggleShield() {
  const root = document.documentElement;
  const on = root.dataset.shield !== "on";
  root.dataset.shield = on ? "on" : "off";
  announce(on ? "Blur on." : "Blur off.");
  const form = byId("shield-form");
  form.elements.shield.checked = on;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { "HX-Request": "true" } });
    if (!answer.ok) throw new Error(String(answer.status));
  } catch {
    say("bad", `Blur is ${on ? "on" : "off"} here, but this was not saved`);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-help]");
  if (!button) return;
  toggleHelp();
  if (event.detail) button.blur(); // pressed with a pointer: Enter goes back to meaning "accept"
});

function toggleHelp(open = byId("help").hidden) {
  byId("help").hidden = !open;
  document.querySelector("[data-help]")?.setAttribute("aria-expanded", String(open));
}

// A page that comes back from the browser's memory may show an image that was decided since.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
watchImage();
