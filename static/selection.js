// Ticking many boxes of one form by keyboard and pointer: arrows move, Shift makes a range, a key ticks all or none.
// The boxes stay ordinary boxes: without this module the form works by clicking each.

import { meaningOf } from "./keys.js";

export const boxesOf = (form) => [...form.querySelectorAll("input[type=checkbox]")];

export function watchSelection(form, changed) {
  let anchor = null;

  const setRange = (from, to, on) => {
    const boxes = boxesOf(form);
    const [first, last] = [boxes.indexOf(from), boxes.indexOf(to)].sort((a, b) => a - b);
    if (first < 0) return;
    for (const box of boxes.slice(first, last + 1)) box.checked = on;
  };

  form.addEventListener("click", (event) => {
    const label = event.target.closest("label");
    const box = event.target.closest("input[type=checkbox]") ?? label?.querySelector("input[type=checkbox]");
    // A click on a label comes a second time, from its box.
    if (!box || event.target !== box) return;
    if (event.shiftKey && anchor && anchor !== box) setRange(anchor, box, box.checked);
    anchor = box;
    changed();
  });
  // Shift with a click on a label selects text instead of ticking.
  form.addEventListener("mousedown", (event) => {
    if (event.shiftKey && event.target.closest("label")) event.preventDefault();
  });

  form.addEventListener("keydown", (event) => {
    if (!event.target.matches("input[type=checkbox]") || event.ctrlKey || event.metaKey || event.altKey) return;
    const boxes = boxesOf(form);
    const here = boxes.indexOf(event.target);
    const there = boxes[next(boxes, here, event.key)];
    if (!there) return;
    event.preventDefault();
    if (event.shiftKey) setRange(event.target, there, event.target.checked);
    anchor = there;
    there.focus();
    changed();
  });

  changed();
  return {
    all() {
      const boxes = boxesOf(form);
      const on = boxes.some((box) => !box.checked);
      for (const box of boxes) box.checked = on;
      changed();
    },
  };
}

// The place that an arrow leads to; by what is on the screen, as the width decides how many stand in a row.
function next(boxes, here, key) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
  if (step) return here + step;
  if (key === "Home") return 0;
  if (key === "End") return boxes.length - 1;
  if (key !== "ArrowDown" && key !== "ArrowUp") return -1;
  const top = (box) => Math.round(box.closest("li").getBoundingClientRect().top);
  const row = boxes.filter((box) => top(box) === top(boxes[0])).length;
  return here + (key === "ArrowDown" ? row : -row);
}

// The letter or name of a key, as buttons name theirs in data-keys; nothing while somebody types.
export function plainKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return "";
  if (event.target instanceof Element && event.target.closest("textarea, select, input:not([type=checkbox])")) return "";
  if (event.key === "Enter" || event.key === "Escape") return event.key.toLowerCase();
  if (event.shiftKey) return "";
  if (/^[a-z0-9/]$/i.test(event.key)) return meaningOf(event.key);
  return /^Key[A-Z]$/.test(event.code) ? meaningOf(event.code.slice(3)) : "";
}
