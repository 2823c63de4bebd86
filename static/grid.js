// The grid by keyboard: arrows and Space choose, Enter settles the page, E escalates one, R reveals while held.

import { meaningOf } from "./keys.js";
import { announce, toggleShield } from "./page.js";
import { boxesOf, plainKey, watchSelection } from "./selection.js";

const form = document.querySelector("[data-settle]");
let sent = false;

if (form) {
  const words = form.querySelector("[data-settle-words]");
  const selection = watchSelection(form, () => {
    const boxes = boxesOf(form);
    const on = boxes.filter((box) => box.checked).length;
    words.textContent = `Settle ${on}, leave ${boxes.length - on}`;
  });
  form.querySelector("[data-select-all]").addEventListener("click", () => {
    selection.all();
    announce(words.textContent);
  });
  form.addEventListener("change", () => announce(words.textContent));
  form.addEventListener("submit", (event) => {
    // The key makes a second request harmless; this keeps it from being made.
    if (sent) event.preventDefault();
    sent = true;
  });
  boxesOf(form)[0].focus();
}

document.addEventListener("keydown", (event) => {
  const key = plainKey(event);
  if (key === "r") return reveal(true);
  if (key === "b") return toggleShield();
  if (key === "e") return document.activeElement?.closest("li")?.querySelector("[data-escalate]")?.click();
  const onControl = event.target instanceof Element && event.target.closest("a, button, summary");
  if (!key || (key === "enter" && onControl)) return;
  const button = document.querySelector(`[data-keys~="${CSS.escape(key)}"]`);
  if (!button) return;
  event.preventDefault();
  button.click();
});
document.addEventListener("keyup", (event) => meaningOf(event.key) === "r" && reveal(false));
window.addEventListener("blur", () => reveal(false));
document.addEventListener("pointerdown", (event) => event.target.closest("[data-reveal]") && reveal(true));
for (const type of ["pointerup", "pointercancel"]) document.addEventListener(type, () => reveal(false));

function reveal(on) {
  form?.classList.toggle("revealed", on);
}

// A page that comes back from the browser's memory may show what was settled since.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
