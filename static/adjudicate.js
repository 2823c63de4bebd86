// One key settles: each button and link names its keys in data-keys. Without this the page works by clicking.

import { meaningOf } from "./keys.js";

const typing = (target) => target instanceof Element && target.closest("input:not([type=checkbox]), select, textarea");

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const pressed = meaningOf(event.key);
  // Enter and Space on a focused control mean that control.
  if (pressed === "enter" && event.target instanceof Element && event.target.closest("a, button, label, input")) return;
  const wanted = document.querySelector(`[data-keys~="${CSS.escape(pressed)}"]`);
  if (!wanted) return;
  event.preventDefault();
  wanted.click();
});

// A second key while the first is on its way would land on an image that nobody has seen yet.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", () => {
    setTimeout(() => {
      for (const button of document.querySelectorAll("button")) button.disabled = true;
    });
  });
}
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button")) button.disabled = false;
});
