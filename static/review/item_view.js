// One review item on the page. Everything in it came from people's files, so it is set as text, never as markup.

import { placeOf } from "../keys.js";

const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(attribute, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(attribute, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const quiet = (text) => element("span", { class: "visually-hidden" }, text);
const shape = (label) => element("span", { class: `shape tone-${label.tone}`, "aria-hidden": "true" }, label.shape);
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function chip(kind, label) {
  return element(
    "span",
    { class: `chip chip-${kind} tone-${label.tone}`, title: `${kind} label` },
    element("span", { class: "shape", "aria-hidden": "true" }, label.shape),
    " ",
    quiet(`${kind} label `),
    label.name,
  );
}

export function thumbnail(image, { size, shielded, alt }) {
  return element(
    "span",
    { class: shielded ? "thumbnail shielded" : "thumbnail" },
    element("img", { src: image.thumb, alt, width: size, height: size, decoding: "async" }),
  );
}

// Everything about the item but its image.
export function fillItem(item, separateUrl) {
  byId("focus").classList.toggle("blind", item.blind);
  byId("picture").classList.toggle("shielded", item.shielded);
  byId("second").hidden = !item.second_look;
  byId("before").hidden = !item.before;
  byId("before").textContent = item.before ? `↺ ${item.before}` : "";
  (item.blind ? fillBlind : fillQuestion)(item);
  fillStrip(item, separateUrl);
  for (const button of document.querySelectorAll("#decide [data-label]")) fillAnswer(button, item);
}

function fillBlind() {
  byId("question").replaceChildren(
    element(
      "span",
      { class: "chip chip-blind" },
      element("span", { class: "shape", "aria-hidden": "true" }, "?"),
      " which class is it?",
    ),
  );
  byId("reason").textContent =
    "Blind: its label and what the model thinks are hidden, so that your answer is your own.";
  byId("facts").replaceChildren();
}

function fillQuestion(item) {
  byId("question").replaceChildren(
    chip("given", item.given),
    " ",
    element("span", { class: "arrow", "aria-hidden": "true" }, "→"),
    " ",
    chip("suggested", item.suggested),
  );
  byId("reason").textContent = item.reason;
  const facts = [`quality ${item.quality.toFixed(2)}`, item.split || "no split yet", `${item.width} × ${item.height}`];
  if (item.waits) facts.unshift(item.waits);
  if (item.near_duplicates) facts.push(plural(item.near_duplicates, "near duplicate"));
  byId("facts").replaceChildren(`${facts.join(" · ")} · `, element("a", { href: item.details }, "details"));
}

function fillStrip(item, separateUrl) {
  const strip = byId("strip");
  strip.hidden = item.blind || !item.represents;
  if (strip.hidden) return byId("strip-images").replaceChildren();
  byId("strip-words").textContent = `Settles ${plural(item.represents, "near duplicate")} too:`;
  byId("separate").action = separateUrl;
  byId("strip-images").replaceChildren(
    ...item.represented.map((image) =>
      element(
        "li",
        {},
        element(
          "a",
          { href: image.url, title: `given ${image.given}` },
          thumbnail(image, { size: 48, shielded: item.shielded, alt: `Image ${image.image}, given label ${image.given}` }),
        ),
      ),
    ),
    ...(item.represents > item.represented.length ? [element("li", { class: "muted" }, "…")] : []),
  );
}

function fillAnswer(button, item) {
  const { label } = button.dataset;
  const given = !item.blind && item.given.name === label;
  const suggested = !item.blind && item.suggested.name === label;
  const own = button.dataset.keys.split(" ")[0];
  button.value = given ? "keep" : `relabel:${label}`;
  button.dataset.keys = [own, given && "k", suggested && "enter"].filter(Boolean).join(" ");
  button.classList.toggle("is-given", given);
  button.classList.toggle("is-suggested", suggested);
  button.querySelector(".answer-keys").replaceChildren(
    ...(given ? [quiet("keep the given label "), element("kbd", { "aria-hidden": "true" }, placeOf("k").toUpperCase())] : []),
    ...(suggested ? [quiet("accept the suggestion "), element("kbd", { "aria-hidden": "true" }, "⏎")] : []),
  );
}

// What screen readers are told of the image: its label state, never its content.
export function describe(item) {
  const labels = item.blind ? "" : `, given label ${item.given.name}, suggested label ${item.suggested.name}`;
  return `Image ${item.image}${labels}. If you read this, the file cannot be shown; it can still be excluded or skipped.`;
}

// What is around an image, as the server answered.
export function fillAround(answer) {
  byId("around-title").textContent = answer.title;
  const images = (answer.images ?? []).map((image) => {
    const state = image.excluded ? " · excluded" : image.changed ? " · relabelled" : "";
    return element(
      "li",
      {},
      element(
        "a",
        { href: image.url, target: "_blank", rel: "noopener" },
        thumbnail(image, { size: 96, shielded: image.shielded, alt: `Image ${image.image}, label ${image.label.name}` }),
        element("span", { class: "thumbnail-label" }, shape(image.label), ` ${image.label.name}${state}`),
        image.note ? element("small", {}, image.note) : null,
      ),
    );
  });
  const lines = (answer.lines ?? []).map((line) => element("li", {}, element("b", {}, line.who), ` ${line.what}`));
  const list = images.length
    ? element("ul", { class: "thumbnails small" }, ...images)
    : lines.length
      ? element("ol", { class: "history" }, ...lines)
      : element("p", {}, answer.empty);
  const more = answer.url ? element("p", {}, element("a", { href: answer.url, target: "_blank", rel: "noopener" }, "All of it →")) : null;
  byId("around-body").replaceChildren(...[list, more].filter(Boolean));
}
