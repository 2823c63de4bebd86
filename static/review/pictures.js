// Pictures: the images of the held items, loaded and decoded before they are needed, and how one of them is looked at.

const RETRY_MS = [300, 700, 1500, 3000, 6000];
const KEPT = 24;
const MOST_SCALE = 16;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Why an image did not come: "passing" (no connection, a failing server, nobody signed in), "gone", or "there" where
// the bytes come but no image is made of them.
async function whyNot(src) {
  try {
    const answer = await fetch(src, { cache: "no-store" });
    answer.body?.cancel();
    if (answer.redirected || answer.status === 401 || answer.status === 429 || answer.status >= 500) return "passing";
    return answer.ok ? "there" : "gone";
  } catch {
    return "passing";
  }
}

class Picture {
  state = "loading"; // then ready or broken
  dropped = false;

  constructor(src, urgent) {
    this.src = src;
    this.settled = this.#load(urgent);
  }

  async #load(urgent) {
    let undecodable = 0;
    for (let tries = 0; !this.dropped; tries += 1) {
      const image = new Image();
      image.decoding = "sync";
      image.fetchPriority = urgent ? "high" : "auto";
      image.src = this.src;
      this.element = image;
      try {
        await image.decode();
        return this.#become("ready");
      } catch {
        // decode() also refuses what the browser shows all the same.
        if (image.complete && image.naturalWidth > 0) return this.#become("ready");
      }
      const why = await whyNot(this.src);
      if (why === "gone" || (why === "there" && ++undecodable > 1)) return this.#become("broken");
      await wait(RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
    }
  }

  #become(state) {
    this.state = state;
  }
}

export class Pictures {
  #bySource = new Map();

  of(item) {
    let picture = this.#bySource.get(item.src);
    if (picture) {
      this.#bySource.delete(item.src); // the newest use comes last
    } else {
      picture = new Picture(item.src, this.#bySource.size === 0);
    }
    this.#bySource.set(item.src, picture);
    return picture;
  }

  // Not even kept in memory.
  forget(item) {
    const picture = this.#bySource.get(item.src);
    if (!picture) return;
    picture.dropped = true;
    this.#bySource.delete(item.src);
  }

  // Load what comes next, and let go of what was used longest ago.
  prepare(items) {
    for (const item of items) this.of(item);
    for (const [src, picture] of this.#bySource) {
      if (this.#bySource.size <= Math.max(KEPT, items.length)) break;
      picture.dropped = true;
      this.#bySource.delete(src);
    }
  }
}

// Zoom and pan of the image in `frame`: the wheel, a drag, and what keys ask for. Every new image starts whole.
export class Zoom {
  #frame;
  #scale = 1;
  #x = 0;
  #y = 0;
  #drag = null;

  constructor(frame) {
    this.#frame = frame;
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("dblclick", () => this.reset());
    frame.addEventListener("pointerdown", (event) => this.#start(event));
    frame.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel"]) frame.addEventListener(type, () => (this.#drag = null));
  }

  get whole() {
    return this.#scale === 1;
  }

  reset() {
    if (this.whole) return;
    [this.#scale, this.#x, this.#y, this.#drag] = [1, 0, 0, null];
    this.#apply();
  }

  // Zoom about a point of the frame, measured from its middle.
  by(factor, atX = 0, atY = 0) {
    const before = this.#scale;
    this.#scale = Math.min(MOST_SCALE, Math.max(1, before * factor));
    const ratio = this.#scale / before;
    this.#x = atX - (atX - this.#x) * ratio;
    this.#y = atY - (atY - this.#y) * ratio;
    this.#apply();
  }

  // Move the view by a share of the frame.
  pan(right, down) {
    this.#x -= right * this.#frame.clientWidth;
    this.#y -= down * this.#frame.clientHeight;
    this.#apply();
  }

  #wheel(event) {
    event.preventDefault();
    const box = this.#frame.getBoundingClientRect();
    const steps = event.deltaY / (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 3 : 100);
    this.by(1.25 ** -steps, event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
  }

  #start(event) {
    if (this.whole || event.button || event.target.closest(".reveal")) return;
    event.preventDefault();
    this.#drag = [event.clientX - this.#x, event.clientY - this.#y];
    this.#frame.setPointerCapture(event.pointerId);
  }

  #move(event) {
    if (!this.#drag) return;
    this.#x = event.clientX - this.#drag[0];
    this.#y = event.clientY - this.#drag[1];
    this.#apply();
  }

  #apply() {
    const reach = (this.#scale - 1) / 2;
    const within = (at, size) => Math.max(-reach * size, Math.min(reach * size, at));
    this.#x = within(this.#x, this.#frame.clientWidth);
    this.#y = within(this.#y, this.#frame.clientHeight);
    this.#frame.classList.toggle("zoomed", !this.whole);
    const image = this.#frame.querySelector("#shown");
    if (image) image.style.transform = this.whole ? "" : `translate(${this.#x}px, ${this.#y}px) scale(${this.#scale})`;
  }
}
