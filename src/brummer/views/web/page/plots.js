// Plots of one number over time. A time without samples is a gap, and no zero.

const WIDTH = 300;
const HEIGHT = 40;
const SVG = "http://www.w3.org/2000/svg";

const drawn = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

export class Plot {
  #now = document.createElement("b");
  #most = document.createElement("small");
  #area = drawn("path", { class: "area" });
  #line = drawn("path", { class: "curve" });

  constructor(title) {
    this.element = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.append(title, " ", this.#now, this.#most);
    const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(this.#area, this.#line);
    this.element.append(caption, svg);
  }

  // `points`: [ms, value], in the order of time; two that are further apart than `gapMs` are not joined.
  draw(points, { from, until, gapMs, least, words }) {
    const last = points.at(-1);
    const isCurrent = last && until - last[0] < gapMs;
    this.#now.textContent = isCurrent ? words(last[1]) : "–";
    const most = points.reduce((top, [, value]) => Math.max(top, value), 0);
    this.#most.textContent = points.length > 1 ? `most ${words(most)}` : "";
    const top = 1.1 * Math.max(most, least);
    const x = (ms) => ((WIDTH * (ms - from)) / (until - from)).toFixed(1);
    const y = (value) => (HEIGHT - 1 - (HEIGHT - 3) * (value / top)).toFixed(1);
    const curves = [];
    for (const [index, [ms, value]] of points.entries()) {
      const isNew = index === 0 || ms - points[index - 1][0] > gapMs;
      if (isNew) curves.push([]);
      curves.at(-1).push([x(ms), y(value)]);
    }
    const joined = (curve) => `M${curve.map((point) => point.join(" ")).join("L")}`;
    this.#line.setAttribute("d", curves.map(joined).join(""));
    this.#area.setAttribute("d", curves.map((curve) => `${joined(curve)}L${curve.at(-1)[0]} ${HEIGHT}L${curve[0][0]} ${HEIGHT}Z`).join(""));
  }
}

// The sum of several scripts' samples [seconds, CPU, MiB, …] at the same times, as [ms, CPU, MiB]; null where none of
// them knows it.
export function summed(samples) {
  const sums = new Map();
  const more = (sum, value) => (value === null || value === undefined ? sum : (sum ?? 0) + value);
  for (const each of samples)
    for (const [at, cpu, mib] of each) {
      const [, cpuBefore, mibBefore] = sums.get(at) ?? [0, null, null];
      sums.set(at, [1000 * at, more(cpuBefore, cpu), more(mibBefore, mib)]);
    }
  return [...sums.values()].sort((a, b) => a[0] - b[0]);
}

// Lines that came, in intervals of the same length, for the plot of output.
export class Rate {
  #counts = new Map();
  #since = Date.now();

  constructor(everyMs, keptMs) {
    this.everyMs = everyMs;
    this.keptMs = keptMs;
  }

  clear() {
    this.#counts.clear();
    this.#since = Date.now();
  }

  count(lines) {
    const at = Math.floor(Date.now() / this.everyMs);
    this.#counts.set(at, (this.#counts.get(at) ?? 0) + lines);
  }

  // [ms, lines a second] of each whole interval since the beginning.
  points(now) {
    const last = Math.floor(now / this.everyMs) - 1;
    const first = Math.max(Math.ceil(this.#since / this.everyMs), last - Math.floor(this.keptMs / this.everyMs));
    for (const at of this.#counts.keys()) if (at < first) this.#counts.delete(at);
    const points = [];
    for (let at = first; at <= last; at += 1) points.push([(at + 1) * this.everyMs, (1000 * (this.#counts.get(at) ?? 0)) / this.everyMs]);
    return points;
  }
}
