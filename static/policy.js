// The threshold tuner: figures that follow the handles. Everything was sent with the page; nothing is asked again.

const facts = JSON.parse(document.getElementById("tuning").textContent);
const form = document.getElementById("policy-form");
const chart = document.querySelector(".band-chart");
const live = document.querySelector("[data-live]");
const sides = ["safe", "adult"];
const numbers = Object.fromEntries(sides.map((side) => [side, form.querySelector(`[data-number=${side}]`)]));
const sliders = Object.fromEntries(sides.map((side) => [side, form.querySelector(`[data-slider=${side}]`)]));
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
let said;

// Between two thresholds of the grid, the more careful one's figures; as `figures_at` does.
const place = {
  safe: (threshold) => Math.floor(threshold * facts.grid + 1e-9),
  adult: (threshold) => Math.ceil(threshold * facts.grid - 1e-9),
};

function thresholds() {
  return { safe: Number(numbers.safe.value), adult: Number(numbers.adult.value) };
}

function possible({ safe, adult }) {
  return numbers.safe.value !== "" && numbers.adult.value !== "" && safe >= 0 && adult <= 1 && safe < adult;
}

// Whatever moves pushes the other handle along, so that the bands never cross.
function move(side, value) {
  const step = 1 / facts.grid;
  const at = Math.min(Math.max(value, side === "adult" ? step : 0), side === "safe" ? 1 - step : 1);
  numbers[side].value = trimmed(at);
  const other = side === "safe" ? "adult" : "safe";
  const { safe, adult } = thresholds();
  if (safe >= adult) numbers[other].value = trimmed(side === "safe" ? at + step : at - step);
  show();
}

function trimmed(value) {
  return String(Math.round(value * facts.grid) / facts.grid);
}

function show() {
  const now = thresholds();
  const fine = possible(now);
  numbers.safe.setCustomValidity(fine ? "" : "The safe band must end below where the adult band begins.");
  if (!fine) return;
  for (const side of sides) {
    sliders[side].value = now[side];
    for (const copy of document.querySelectorAll(`[data-copy=${side}]`)) copy.value = now[side];
  }
  const at = { safe: place.safe(now.safe), adult: place.adult(now.adult) };
  const images = { safe: facts.safe.images[at.safe], adult: facts.adult.images[at.adult] };
  images.unknown = facts.images - images.safe - images.adult;
  const queue = facts.waiting - facts.safe.waiting[at.safe] - facts.adult.waiting[at.adult];
  for (const band of ["safe", "unknown", "adult"]) {
    write(`${band}.images`, whole.format(images[band]));
    write(`${band}.share`, share(images[band], facts.images));
  }
  for (const side of sides) errors(side, at[side], images[side]);
  write("queue", whole.format(queue));
  write("time", duration(queue * facts.seconds));
  draw(now);
  clearTimeout(said);
  said = setTimeout(() => {
    live.textContent = `Safe ${whole.format(images.safe)}, unknown ${whole.format(images.unknown)}, adult ${whole.format(images.adult)} images.`;
  }, 600);
}

function write(name, text) {
  const figure = document.querySelector(`[data-figure="${name}"]`);
  if (figure.textContent !== text) figure.textContent = text;
}

function share(part, all) {
  if (!all) return "–";
  const of = part / all;
  if (of >= 0.995 && of < 1) return "> 99 %";
  return of > 0 && of < 0.01 ? "< 1 %" : `${whole.format(100 * of)} %`;
}

// As the server's pages say it: 2 h 5 min, 3 min 20 s, 40 s.
function duration(seconds) {
  const total = Math.floor(seconds);
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  if (hours) return `${hours}\u00a0h ${minutes}\u00a0min`;
  return minutes ? `${minutes}\u00a0min ${rest}\u00a0s` : `${rest}\u00a0s`;
}

function errors(side, at, images) {
  const cell = document.querySelector(`[data-figure="${side}.errors"]`);
  const { reviewed, wrong, low, high } = facts[side];
  if (!reviewed[at]) {
    cell.textContent = "not known: no random image of it was judged";
    return;
  }
  const best = document.createElement("b");
  best.textContent = whole.format((images * wrong[at]) / reviewed[at]);
  const what = side === "safe" ? "adult" : "not adult";
  const range = `${whole.format(images * low[at])}–${whole.format(images * high[at])}`;
  cell.replaceChildren(best, ` (${range}) ${what}; ${whole.format(wrong[at])} of ${whole.format(reviewed[at])} judged`);
}

function draw(now) {
  const left = Number(chart.dataset.left);
  const right = Number(chart.dataset.right);
  const x = (score) => left + score * (right - left);
  for (const side of sides) chart.querySelector(`[data-handle=${side}]`).setAttribute("transform", `translate(${x(now[side])} 0)`);
  const ends = { safe: [0, now.safe], unknown: [now.safe, now.adult], adult: [now.adult, 1] };
  for (const [band, [from, to]] of Object.entries(ends)) {
    const zone = chart.querySelector(`[data-zone=${band}]`);
    zone.setAttribute("x", x(from));
    zone.setAttribute("width", Math.max(0, x(to) - x(from)));
  }
}

function scoreAt(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
  const left = Number(chart.dataset.left);
  return (point.x - left) / (Number(chart.dataset.right) - left);
}

for (const side of sides) {
  sliders[side].addEventListener("input", () => move(side, Number(sliders[side].value)));
  // A typed number is the person's: it is shown, never corrected under the cursor.
  numbers[side].addEventListener("input", show);
}

let dragged = null;
chart.addEventListener("pointerdown", (event) => {
  // A finger scrolls the picture; it has the sliders.
  if (event.pointerType === "touch") return;
  const now = thresholds();
  const score = scoreAt(event);
  dragged = Math.abs(score - now.safe) <= Math.abs(score - now.adult) ? "safe" : "adult";
  chart.setPointerCapture(event.pointerId);
  move(dragged, score);
});
chart.addEventListener("pointermove", (event) => dragged && move(dragged, scoreAt(event)));
for (const type of ["pointerup", "pointercancel"]) chart.addEventListener(type, () => (dragged = null));

// A browser may bring a form back as it was left.
show();
window.addEventListener("pageshow", show);
