// The explorer: ticking many images, and the detail panel beside them where the window is wide enough.

import { announce } from "./page.js";
import { boxesOf, plainKey, watchSelection } from "./selection.js";

const form = document.getElementById("selection");
const wide = matchMedia("(min-width: 1200px)");
const filters = document.getElementById("filters");

// On a narrow screen the images come first; without this module the filters are simply open.
if (!matchMedia("(min-width: 861px)").matches) filters.open = false;

if (form?.querySelector("[data-selected-count]")) {
  const count = form.querySelector("[data-selected-count]");
  const scope = form.elements.scope;
  const buttons = [...form.querySelectorAll("button[name=decision]")];
  const changed = () => {
    const on = boxesOf(form).filter((box) => box.checked).length;
    count.textContent = `${on} selected`;
    const nothing = on === 0 && scope.value === "selected";
    form.classList.toggle("nothing-selected", nothing);
    for (const button of buttons) button.disabled = nothing;
  };
  const selection = watchSelection(form, changed);
  form.addEventListener("change", changed);
  form.querySelector("[data-select-all]").addEventListener("click", () => {
    selection.all();
    announce(count.textContent);
  });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-detail]");
  if (!link || !wide.matches || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(link);
});

async function show(link) {
  await htmx.ajax("GET", link.getAttribute("href"), { target: "#detail", swap: "innerHTML" });
  document.querySelector(".explorer").classList.add("with-detail");
  for (const other of document.querySelectorAll("a[data-detail]")) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  const here = new URL(location.href);
  here.searchParams.set("image", link.dataset.detail);
  history.replaceState(history.state, "", here);
}

document.addEventListener("keydown", (event) => {
  const key = plainKey(event);
  if (key === "a") form?.querySelector("[data-select-all]")?.click();
  if (key === "e") {
    // The ticked ones; else the one in focus; else the one that is open beside them.
    const ask = form?.querySelector("[data-keys=e]");
    const own = document.activeElement?.closest("li")?.querySelector("input[name=image]");
    if (ask && own && !boxesOf(form).some((box) => box.checked)) own.checked = true;
    if (ask && boxesOf(form).some((box) => box.checked)) ask.click();
    else document.querySelector("#detail [data-escalate]")?.click();
  }
  if (key === "/") {
    event.preventDefault();
    filters.open = true;
    filters.querySelector("select").focus();
  }
  if (key === "enter" && event.target.matches?.("input[type=checkbox]")) {
    // Enter on a box would press the form's first button and relabel.
    event.preventDefault();
    event.target.closest("li").querySelector("a").click();
  }
});
