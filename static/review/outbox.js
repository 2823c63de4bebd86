// The outbox: what was decided and is not yet known to be saved. It lies in IndexedDB, so it outlives a reload, a crash
// and a session, and every tab of this browser sees the same one. One tab at a time empties it, in order:
//   1. an entry leaves only by an answer of the server about that very entry: saved, or refused with a reason;
//   2. whatever else happens (no connection, a failing server, nobody signed in) it stays and is sent again. Each
//      entry has a key of its own, so sending it twice is harmless;
//   3. what was refused is listed until somebody dismisses it.

const DATABASE = "winnow";
const BATCH = 20;
const TIMEOUT_MS = 15_000;
const RETRY_MS = [300, 600, 1000, 2000, 4000, 8000];
const SIGNED_OUT_MS = 3000;
const FAILURES_UNTIL_ALONE = 3;
const FAILURES_UNTIL_SET_ASIDE = 6;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Only a page from https or localhost has randomUUID.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// Post JSON; {status, body} with status 0 where no answer came, and body null where it is not JSON.
export async function post(url, person, content) {
  // Signing in again in another tab renews the token; the cookie always has the one that counts.
  const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": token, "X-Winnow-Person": person },
      body: JSON.stringify(content),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const body = await answer.json().catch(() => null);
    // A page where JSON was expected came from something in between.
    return { status: answer.ok && body === null ? 0 : answer.status, body };
  } catch {
    return { status: 0, body: null };
  }
}

// ---- where entries lie --------------------------------------------------------------------------------------

function finished(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

class Shelf {
  static async open() {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => {
      const queue = opening.result.createObjectStore("queue", { keyPath: "place", autoIncrement: true });
      queue.createIndex("key", "key", { unique: true });
      opening.result.createObjectStore("refused", { keyPath: "key" });
    };
    const shelf = new Shelf();
    shelf.database = await finished(opening);
    return shelf;
  }

  // `work` may wait for requests of this transaction only; resolves once it is committed.
  async transaction(mode, work) {
    const running = this.database.transaction(["queue", "refused"], mode, { durability: "relaxed" });
    const committed = new Promise((resolve, reject) => {
      running.oncomplete = resolve;
      running.onabort = () => reject(running.error ?? new Error("aborted"));
    });
    const result = await work(running.objectStore("queue"), running.objectStore("refused"));
    await committed;
    return result;
  }

  add(entry) {
    return this.transaction("readwrite", (queue) => finished(queue.add(entry)));
  }

  read() {
    return this.transaction("readonly", async (queue, refused) => {
      const [waiting, listed] = await Promise.all([finished(queue.getAll()), finished(refused.getAll())]);
      return { waiting, refused: listed };
    });
  }

  // Note that these are about to be sent; only those that are still there.
  markTried(entries) {
    return this.transaction("readwrite", async (queue) => {
      const there = [];
      for (const entry of entries) {
        const stored = await finished(queue.get(entry.place));
        if (!stored) continue;
        await finished(queue.put({ ...stored, tried: true }));
        there.push(stored);
      }
      return there;
    });
  }

  takeOutUntried(key) {
    return this.transaction("readwrite", async (queue) => {
      const stored = await finished(queue.index("key").get(key));
      if (!stored || stored.tried) return false;
      await finished(queue.delete(stored.place));
      return true;
    });
  }

  settle(done, refusedOnes) {
    return this.transaction("readwrite", async (queue, refused) => {
      for (const entry of done) await finished(queue.delete(entry.place));
      for (const entry of refusedOnes) {
        await finished(queue.delete(entry.place));
        await finished(refused.put(entry));
      }
    });
  }

  dismiss(key) {
    return this.transaction("readwrite", (_, refused) => finished(refused.delete(key)));
  }

  again(key) {
    return this.transaction("readwrite", async (queue, refused) => {
      const { place, why, tried, ...entry } = await finished(refused.get(key));
      await finished(refused.delete(key));
      await finished(queue.add(entry));
    });
  }
}

// The same without IndexedDB (a browser may forbid it): what waits is lost with the tab, and the page says so.
class Memory {
  #queue = [];
  #refused = [];
  #place = 0;
  async add(entry) {
    this.#queue.push({ ...entry, place: ++this.#place });
  }
  async read() {
    return { waiting: [...this.#queue], refused: [...this.#refused] };
  }
  async markTried(entries) {
    const there = this.#queue.filter((one) => entries.some((entry) => entry.place === one.place));
    for (const one of there) one.tried = true;
    return there;
  }
  async takeOutUntried(key) {
    const before = this.#queue.length;
    this.#queue = this.#queue.filter((one) => one.key !== key || one.tried);
    return this.#queue.length < before;
  }
  async settle(done, refused) {
    const gone = new Set([...done, ...refused].map((entry) => entry.place));
    this.#queue = this.#queue.filter((one) => !gone.has(one.place));
    this.#refused.push(...refused);
  }
  async dismiss(key) {
    this.#refused = this.#refused.filter((one) => one.key !== key);
  }
  async again(key) {
    const { place, why, tried, ...entry } = this.#refused.find((one) => one.key === key);
    await this.dismiss(key);
    await this.add(entry);
  }
}

// ---- the outbox ---------------------------------------------------------------------------------------------

// Events: "change" (counts or state), "answered" (detail: {entry, result}), "decided" (detail: item, in another tab),
// "progress" (detail: the server's count, and what is gone of what the page has in hand).
export class Outbox extends EventTarget {
  #person;
  #shelf;
  #channel;
  #stopSleeping = () => {};
  #woken = false; // somebody called while nobody slept
  #failures = 0;
  #adding = 0;
  lasting = true; // whether what waits outlives this tab
  inHand = () => []; // the items that this page shows, has shown or is going to show
  waiting = [];
  refused = [];
  state = "idle"; // idle, sending, offline, failing, signed-out
  why = "";

  static async open(person) {
    const outbox = new Outbox();
    outbox.#person = person;
    try {
      outbox.#shelf = await Shelf.open();
    } catch {
      outbox.#shelf = new Memory();
      outbox.lasting = false;
    }
    outbox.#channel = new BroadcastChannel(`winnow-outbox-${person}`);
    outbox.#channel.onmessage = ({ data }) => outbox.#heard(data);
    await outbox.#refresh();
    return outbox;
  }

  // Without Web Locks (a page from plain http) every tab sends: the keys make the second time harmless.
  start() {
    const send = () => this.#sendForGood();
    if (outboxLocks()) navigator.locks.request(`winnow-outbox-${this.#person}`, send);
    else send();
    for (const type of ["online", "focus"]) window.addEventListener(type, () => this.wake());
    document.addEventListener("visibilitychange", () => document.hidden || this.wake());
  }

  get pending() {
    return this.waiting.length + this.#adding;
  }

  // Kept as soon as this resolves; entries are sent in the order of these calls.
  async add(entry) {
    this.#adding += 1;
    this.#changed();
    try {
      await this.#shelf.add({ ...entry, person: this.#person, at: Date.now() });
    } finally {
      this.#adding -= 1;
    }
    await this.#refresh();
    this.#tell({ kind: "added", item: entry.decision === "undo" ? null : entry.item });
    this.#wakeUp();
  }

  // Whether the entry could be taken out before anybody had tried to send it.
  async takeOut(key) {
    const out = await this.#shelf.takeOutUntried(key);
    await this.#refresh();
    if (out) this.#tell({ kind: "changed" });
    return out;
  }

  async dismiss(key) {
    await this.#shelf.dismiss(key);
    await this.#refresh();
    this.#tell({ kind: "changed" });
  }

  async again(key) {
    await this.#shelf.again(key);
    await this.#refresh();
    this.#tell({ kind: "changed" });
    this.wake();
  }

  // Try now, whatever the back-off says.
  wake() {
    this.#tell({ kind: "wake" });
    this.#wakeUp();
  }

  #wakeUp() {
    this.#woken = true;
    this.#stopSleeping();
  }

  async #sendForGood() {
    for (;;) {
      await this.#refresh();
      if (!this.waiting.length) {
        this.#become("idle");
        await this.#sleep(60_000);
        continue;
      }
      const pause = await this.#sendSome();
      if (pause) await this.#sleep(pause);
    }
  }

  // Send what stands first in the outbox; how many milliseconds to wait before the next try.
  async #sendSome() {
    const { url } = this.waiting[0];
    const most = this.#failures >= FAILURES_UNTIL_ALONE && this.state === "failing" ? 1 : BATCH;
    const first = this.waiting.slice(0, most);
    const other = first.findIndex((entry) => entry.url !== url);
    const batch = await this.#shelf.markTried(other < 0 ? first : first.slice(0, other));
    if (!batch.length) return 0;
    if (this.state === "idle") this.#become("sending");
    const { status, body } = await post(url, this.#person, { verdicts: batch.map(asSent), held: this.inHand() });
    if (status === 200 && Array.isArray(body.results)) return this.#settle(batch, body);
    const why = body?.why ?? "";
    // 403 without words is Django's own: the token of a session that is over.
    if (status === 401 || (status === 403 && !why)) {
      this.#become("signed-out", why);
      return SIGNED_OUT_MS;
    }
    if (status === 403 || status === 410) {
      return this.#settle(batch, { results: batch.map((entry) => ({ key: entry.key, status, why })) });
    }
    this.#failures += 1;
    if (status === 0) {
      this.#become("offline");
    } else {
      this.#become("failing", `the server failed (${status})`);
      const passing = status >= 501 || status === 429 || status === 408;
      if (!passing && batch.length === 1 && this.#failures >= FAILURES_UNTIL_SET_ASIDE) {
        // One entry that the server cannot digest must not keep all that come after it.
        return this.#settle(batch, { results: [{ key: batch[0].key, status, why: why || `The server failed (${status}).` }] });
      }
    }
    return RETRY_MS[Math.min(this.#failures, RETRY_MS.length) - 1] * (0.75 + Math.random() / 2);
  }

  async #settle(batch, body) {
    const byKey = new Map(body.results.map((result) => [result.key, result]));
    const answered = batch.filter((entry) => byKey.has(entry.key)).map((entry) => ({ entry, result: byKey.get(entry.key) }));
    const done = answered.filter(({ result }) => result.status === 200).map(({ entry }) => entry);
    const refused = answered
      .filter(({ result }) => result.status !== 200)
      .map(({ entry, result }) => ({ ...entry, why: result.why || `The server refused it (${result.status}).` }));
    await this.#shelf.settle(done, refused);
    this.#failures = 0;
    await this.#refresh();
    this.#become(this.waiting.length ? "sending" : "idle");
    const news = { kind: "answered", answered, progress: body.progress ?? null, gone: body.gone ?? [], url: batch[0].url };
    this.#tell(news);
    this.#pass(news);
    return answered.length ? 0 : RETRY_MS[2];
  }

  async #refresh() {
    const { waiting, refused } = await this.#shelf.read();
    const own = (entry) => entry.person === this.#person;
    this.waiting = waiting.filter(own);
    this.refused = refused.filter(own);
    this.#changed();
  }

  #become(state, why = "") {
    if (state === this.state && why === this.why) return;
    this.state = state;
    this.why = why;
    this.#tell({ kind: "state", state, why });
    this.#changed();
  }

  #heard(news) {
    if (news.kind === "wake") return this.#wakeUp();
    if (news.kind === "state") [this.state, this.why] = [news.state, news.why];
    if (news.kind === "added") {
      this.#wakeUp();
      if (news.item) this.dispatchEvent(new CustomEvent("decided", { detail: news.item }));
    }
    this.#refresh();
    if (news.kind === "answered") this.#pass(news);
  }

  #pass(news) {
    for (const one of news.answered) this.dispatchEvent(new CustomEvent("answered", { detail: one }));
    if (news.progress) this.dispatchEvent(new CustomEvent("progress", { detail: news }));
  }

  #tell(news) {
    this.#channel.postMessage(news);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  async #sleep(ms) {
    if (!this.#woken) {
      const called = new Promise((resolve) => (this.#stopSleeping = resolve));
      await Promise.race([called, wait(ms)]);
    }
    this.#woken = false;
  }
}

const outboxLocks = () => "locks" in navigator;

const asSent = ({ item, decision, key, undoes, seconds, shown_suggestion, shown_quality, blind, note }) => ({
  ...{ item, decision, key, undoes, seconds, shown_suggestion, shown_quality, blind, note },
});
