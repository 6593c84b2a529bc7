import { Away, Closed, Failed, ask } from "./client.js";
import { unfolded } from "./model.js";

// Reads the lines of one choice: the last ones, then each that comes, and earlier ones when they are wanted.

const FIRST = 500; // lines at first: several screens
const PAGE = 5_000; // lines of one answer at most: what the tools allow
const PAGE_BYTES = 262_144; // and its size
const BEHIND = 4; // pages without a pause in between: after a second the end of a flood says more than its middle
export const WAIT_S = 20; // the longest wait that the tools allow
const AT_MOST_EVERY_MS = 250; // four pictures a second are as quick as anybody reads
export const AGAIN_MS = 1_000; // after a failure
export const AT_ONCE_MS = 500; // a wait that ends earlier without news has not waited: there is nothing to wait for
const FAR = 100; // pages that are read back to reach one line: more than an instance keeps

export class Reader {
  #client;
  #lines;
  #stop = null;
  #choice = null;
  #cursor = null;
  #hasEarlier = false;
  #isBusy = false;
  #behind = 0;

  // `said(text)` hears of failures; `counted(n)` of lines that came.
  constructor(client, lines, { said, counted }) {
    this.#client = client;
    this.#lines = lines;
    this.said = said;
    this.counted = counted;
  }

  // `choice`: {instance, process, level, query, regex}. Reads until the next choice, or `stop`. `n`: a line to show.
  async read(choice, n = 0) {
    this.stop();
    const stop = (this.#stop = new AbortController());
    const { signal } = stop;
    this.#choice = choice;
    this.#cursor = null;
    this.#hasEarlier = false;
    this.#isBusy = false;
    this.#behind = 0;
    this.#lines.clear();
    let isFirst = true;
    while (!signal.aborted) {
      await visibly();
      const begun = performance.now();
      try {
        const isNew = await this.#step(signal, isFirst);
        if (isFirst && n) await this.goTo(n, signal);
        const took = performance.now() - begun;
        if (isNew) await pause(AT_MOST_EVERY_MS - took, signal);
        else if (!isFirst && took < AT_ONCE_MS) await pause(AGAIN_MS, signal); // a black box waits for nothing
        isFirst = false;
      } catch (error) {
        if (signal.aborted || error instanceof Closed) return;
        if (error instanceof Failed) this.said(error.message);
        else if (!(error instanceof Away)) throw error;
        if (error.code === "invalid_arguments") return; // the same question has the same answer
        await pause(AGAIN_MS, signal);
      }
    }
  }

  stop() {
    this.#stop?.abort();
  }

  #arguments(more) {
    const { instance, process, level } = this.#choice;
    return { instance, limit_bytes: PAGE_BYTES, colours: true, ...(process && { process }), ...(level && { level }), ...more };
  }

  // One page of the choice: with a search, of what matches it.
  #page(more, signal) {
    const { query, regex } = this.#choice;
    if (!query) return ask(this.#client, "logs_tail", this.#arguments(more), signal);
    return ask(this.#client, "logs_search", this.#arguments({ ...more, query, ...(regex && { regex }) }), signal);
  }

  // Returns whether lines have come.
  async #step(signal, isFirst) {
    if (isFirst) {
      const answer = await this.#page({ limit: FIRST }, signal);
      signal.throwIfAborted();
      this.#cursor = answer.cursor;
      this.#hasEarlier = Boolean(answer.omitted);
      this.#take(answer);
      return false;
    }
    if (this.#choice.query) await this.#news(signal); // a search can't wait; the lines that come can
    const isFlood = this.#behind >= BEHIND;
    const place = isFlood ? { limit: FIRST } : { cursor: this.#cursor, limit: PAGE, ...(!this.#choice.query && { wait_s: WAIT_S }) };
    const answer = await this.#page(place, signal);
    signal.throwIfAborted();
    if (isFlood) this.#lines.append([note("lines are left out here: they came faster than they can be shown")]);
    this.#behind = answer.more && !isFlood ? this.#behind + 1 : 0;
    if (answer.cursor_reset) this.#lines.append([note("the instance was started anew")]);
    if (answer.dropped) this.#lines.append([note(`${answer.dropped.toLocaleString("en")} lines are missing here`)]);
    this.#cursor = answer.cursor;
    return this.#take(answer) > 0;
  }

  #news(signal) {
    return ask(this.#client, "logs_tail", this.#arguments({ cursor: this.#cursor, limit: 1, wait_s: WAIT_S }), signal);
  }

  #take(answer) {
    const lines = unfolded(answer);
    if (lines.length) this.#lines.append(lines);
    this.counted(lines.length + (answer.dropped ?? 0));
    return lines.length;
  }

  // The lines before the first one that is shown. Whether there were any.
  async earlier(signal = this.#stop?.signal) {
    const first = this.#lines.first;
    if (!this.#hasEarlier || this.#isBusy || !first || !signal) return false;
    this.#isBusy = true;
    try {
      const answer = await this.#page({ before: first.n, cursor: this.#cursor, limit: PAGE }, signal);
      signal.throwIfAborted();
      const lines = answer.cursor_reset ? [] : unfolded(answer);
      this.#hasEarlier = Boolean(answer.more) && lines.length > 0;
      this.#lines.prepend(lines);
      return lines.length > 0;
    } catch (error) {
      if (error instanceof Failed) this.#hasEarlier = false;
      return false;
    } finally {
      this.#isBusy = false;
      if (!signal.aborted) this.#lines.checkTop();
    }
  }

  // Shows the line with this number, if it is kept.
  async goTo(n, signal = this.#stop?.signal) {
    for (let pages = 0; pages < FAR && (this.#lines.first?.n ?? 0) > n; pages += 1) if (!(await this.earlier(signal))) break;
    if (!this.#lines.goTo(n)) this.said("this line is not kept any more");
  }
}

export const isSeen = () => document.visibilityState === "visible";

// Until the page is seen.
export async function visibly() {
  while (!isSeen()) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
}

export const note = (text) => ({ n: 0, ms: Date.now(), who: "", text: `── ${text} ──`, level: "", note: true });

export function pause(ms, signal) {
  return new Promise((done) => {
    if (signal?.aborted || ms <= 0) return done();
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
}
