import { cells, chunks, clock, coloured, looks, parts } from "./text.js";

// The lines of output. Only those that are seen are elements; each takes a row of one height, or several when wrapped.

const ROW = 18; // pixels, as in the style sheet
const KEPT = 100_000; // lines; the instance has the others
const TRIMMED = 5_000; // at once, so that most pages of lines cost nothing more
const BEYOND = 15; // rows that are drawn above and below what is seen, so that quick scrolling shows no gap
const NEAR = 40; // rows from the top where the earlier lines are asked for

export class Lines {
  #box;
  #rows;
  #space;
  #lines = [];
  #starts = [0]; // when wrapped: the first row of each line, and the number of all rows
  #drawn = new Map(); // row → element
  #widest = 0;
  #columns = 80;
  #isWanted = false;
  #isAtTop = false;
  #pattern = null;
  #marked = 0;
  #top = 0; // where it was put, or drawn

  // `changed()` after the place or the number of unseen lines has changed; `reachedTop()` when earlier lines are wanted;
  // `openLink(address)` if the browser can't follow links itself.
  constructor(box, { changed, reachedTop, openLink }) {
    this.follows = true;
    this.unseen = 0;
    this.wraps = false;
    this.showsTimes = true;
    this.showsNames = false;
    this.changed = changed;
    this.reachedTop = reachedTop;
    this.openLink = openLink;
    this.#box = box;
    this.#space = box.appendChild(document.createElement("div"));
    this.#space.className = "space";
    this.#rows = this.#space.appendChild(document.createElement("div"));
    this.#rows.className = "rows";
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    box.addEventListener("copy", (event) => this.#copy(event));
    new ResizeObserver(() => this.#layOut()).observe(box);
  }

  get count() {
    return this.#lines.length;
  }

  get first() {
    return this.#lines.find((line) => line.n > 0);
  }

  clear() {
    this.#lines = [];
    this.#starts = [0];
    this.#widest = 0;
    this.unseen = 0;
    this.follows = true;
    this.#marked = 0;
    this.#forget();
    this.draw();
  }

  append(lines) {
    for (const line of lines) {
      this.#prepare(line);
      this.#lines.push(line);
      this.#starts.push(this.#starts.at(-1) + line.rows);
    }
    if (!this.follows) this.unseen += lines.length;
    if (this.#lines.length > KEPT && !this.#selection()) this.#trim();
    this.draw();
  }

  // Earlier lines, above; what is seen stays where it is.
  prepend(lines) {
    if (!lines.length) return;
    for (const line of lines) this.#prepare(line);
    const before = this.#starts.at(-1);
    this.#lines = [...lines, ...this.#lines];
    this.#count();
    this.#forget();
    this.#stretch();
    this.#put(this.#box.scrollTop + ROW * (this.#starts.at(-1) - before));
    this.draw();
  }

  follow() {
    this.follows = true;
    this.unseen = 0;
    this.draw();
  }

  home() {
    this.follows = false;
    this.#put(0);
    this.draw();
  }

  // Shows the line with this number in the middle, marked. Whether it is there.
  goTo(n) {
    const index = this.#lines.findIndex((line) => line.n >= n && line.n > 0);
    if (index < 0) return false;
    this.follows = false;
    this.#marked = this.#lines[index].n;
    this.#stretch();
    this.#forget();
    this.#put(ROW * this.#starts[index] - this.#box.clientHeight / 3);
    this.draw();
    return true;
  }

  // Draw all anew: after a change of `wraps`, `showsTimes`, `showsNames`, or of the searched pattern.
  redraw(pattern = this.#pattern) {
    this.#pattern = pattern;
    const top = this.#box.scrollTop;
    const seen = this.#lineOf(Math.floor(top / ROW));
    this.#layOut(true);
    if (!this.follows) this.#put(ROW * (this.#starts[seen] ?? 0));
  }

  // All lines as text, with times and names, for a file.
  asText() {
    return this.#lines.map((line) => `${line.ms ? new Date(line.ms).toISOString() : ""} ${line.who} ${line.shown}\n`).join("");
  }

  draw() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    requestAnimationFrame(() => {
      this.#isWanted = false;
      this.#paint();
    });
  }

  // Layout.

  #prepare(line) {
    Object.assign(line, coloured(line.text));
    line.cells = cells(line.shown);
    line.rows = this.#rowsOf(line);
    this.#widest = Math.max(this.#widest, line.cells);
  }

  #rowsOf(line) {
    if (!this.wraps || line.cells <= this.#columns) return 1;
    return line.cells === line.shown.length ? Math.ceil(line.cells / this.#columns) : chunks(line.shown, this.#columns).length;
  }

  #count() {
    const starts = new Array(this.#lines.length + 1);
    starts[0] = 0;
    for (let at = 0; at < this.#lines.length; at += 1) starts[at + 1] = starts[at] + this.#lines[at].rows;
    this.#starts = starts;
  }

  #layOut(isForced = false) {
    const probe = this.#rows.appendChild(document.createElement("div"));
    probe.className = "row probe";
    probe.textContent = "0".repeat(100);
    const character = probe.getBoundingClientRect().width / 100;
    probe.remove();
    const gutter = (this.showsTimes ? 10 : 0) + (this.showsNames ? 13 : 0) + 3;
    const columns = Math.max(20, Math.floor(this.#box.clientWidth / character) - gutter);
    const isNew = columns !== this.#columns || isForced;
    this.#columns = columns;
    this.#space.style.minWidth = this.wraps ? "" : `${Math.ceil((this.#widest + gutter) * character)}px`;
    this.#box.classList.toggle("times", this.showsTimes);
    this.#box.classList.toggle("names", this.showsNames);
    if (isNew && (this.wraps || isForced)) {
      for (const line of this.#lines) line.rows = this.#rowsOf(line);
      this.#count();
    }
    if (isNew) this.#forget();
    this.draw();
  }

  #trim() {
    const gone = this.#lines.length - KEPT + TRIMMED;
    const rows = this.#starts[gone];
    this.#lines.splice(0, gone);
    this.#count();
    this.#forget();
    if (!this.follows) this.#put(this.#box.scrollTop - ROW * rows);
  }

  #lineOf(row) {
    let [low, high] = [0, this.#lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  // Drawing.

  #forget() {
    for (const element of this.#drawn.values()) element.remove();
    this.#drawn.clear();
  }

  #stretch() {
    const height = `${this.#starts.at(-1) * ROW}px`;
    if (this.#space.style.height !== height) this.#space.style.height = height;
  }

  #put(top) {
    this.#box.scrollTop = top;
    this.#top = this.#box.scrollTop;
  }

  #paint() {
    this.#stretch();
    const all = this.#starts.at(-1);
    this.#put(this.follows ? all * ROW : this.#box.scrollTop);
    const first = Math.max(0, Math.floor(this.#top / ROW) - BEYOND);
    const last = Math.min(all, Math.ceil((this.#top + this.#box.clientHeight) / ROW) + BEYOND);
    const kept = this.#selection();
    for (const [row, element] of this.#drawn) {
      if ((row < first || row >= last) && !kept?.has(element)) {
        element.remove();
        this.#drawn.delete(row);
      }
    }
    let next = null; // rows stand in their order, so that a selection goes from one to the next
    for (let row = last - 1; row >= first; row -= 1) {
      let element = this.#drawn.get(row);
      if (!element) {
        element = this.#element(row);
        this.#drawn.set(row, element);
        this.#rows.insertBefore(element, next ?? this.#after(row));
      }
      next = element;
    }
    this.#noticePlace(first);
  }

  #after(row) {
    let found = null;
    for (const [other, element] of this.#drawn) if (other > row && element.isConnected && (!found || other < found.row)) found = { row: other, element };
    return found?.element ?? null;
  }

  #element(row) {
    const index = this.#lineOf(row);
    const line = this.#lines[index];
    const piece = row - this.#starts[index];
    const element = document.createElement("div");
    element.className = `row ${line.level} ${line.note ? "note" : ""} ${line.n === this.#marked && line.n ? "marked" : ""}`;
    element.style.top = `${row * ROW}px`;
    element.place = { index, piece };
    if (this.showsTimes) element.append(labelled("time", "when", piece ? "" : clock(line.ms)));
    if (this.showsNames) element.append(labelled("span", "who", piece ? "" : line.who));
    const text = element.appendChild(document.createElement("span"));
    text.className = "text";
    text.append(...this.#marks(this.#piece(line, piece), this.#before(line, piece), line.runs));
    return element;
  }

  #piece(line, piece) {
    return line.rows > 1 ? chunks(line.shown, this.#columns)[piece] : line.shown;
  }

  // How many characters of the line stand in the rows before this one of it.
  #before(line, piece) {
    let sum = 0;
    for (let each = 0; each < piece; each += 1) sum += this.#piece(line, each).length;
    return sum;
  }

  #marks(text, begin, runs) {
    if (!this.#pattern && !runs.length && !text.includes("://")) return [text]; // most lines
    let at = begin;
    return parts(text, this.#pattern).map((part) => {
      const pieces = looks(part.text, at, runs).map(([piece, className]) => (className ? labelled("span", className, piece) : piece));
      at += part.text.length;
      const element = part.hit ? document.createElement("mark") : part.href ? this.#link(part.href) : document.createDocumentFragment();
      element.append(...pieces);
      return element;
    });
  }

  #link(href) {
    const link = Object.assign(document.createElement("a"), { href, target: "_blank", rel: "noopener noreferrer", tabIndex: -1 });
    if (this.openLink) link.addEventListener("click", (event) => (event.preventDefault(), this.openLink(href)));
    return link;
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#box;
    if (scrollTop === this.#top) return; // nobody has scrolled: it was put there
    if (scrollTop + clientHeight >= scrollHeight - ROW) this.follows = true;
    else if (scrollTop < this.#top - 1) this.follows = false; // upwards: lines that came meanwhile are no scrolling
    if (this.follows) this.unseen = 0;
    this.draw();
  }

  #noticePlace(first) {
    const isAtTop = first < NEAR && this.#lines.length > 0 && this.#box.clientHeight > 0;
    if (isAtTop && !this.#isAtTop) this.reachedTop();
    this.#isAtTop = isAtTop;
    this.changed();
  }

  // Say again that the top was reached, if it still is: after earlier lines have come, or have failed to.
  checkTop() {
    this.#isAtTop = false;
    this.draw();
  }

  // Copying: the text of the lines, without times, names, and the breaks that wrapping makes.

  // The rows in which a selection begins and ends; null without one.
  #selection() {
    const selection = document.getSelection();
    if (!selection || selection.isCollapsed) return null;
    const rows = [selection.anchorNode, selection.focusNode].map((node) => rowOf(node, this.#rows));
    return rows.some(Boolean) ? new Set(rows.filter(Boolean)) : null;
  }

  #copy(event) {
    const selection = document.getSelection();
    if (!selection?.rangeCount || selection.isCollapsed) return;
    const range = selection.getRangeAt(0);
    const begin = rowOf(range.startContainer, this.#rows);
    const end = rowOf(range.endContainer, this.#rows);
    if (!begin || !end) return;
    const text = this.#between([begin.place, offsetIn(begin, range.startContainer, range.startOffset)], [end.place, offsetIn(end, range.endContainer, range.endOffset)]);
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  }

  #between([begin, from], [end, until]) {
    const offset = ({ index, piece }, at) => at + this.#before(this.#lines[index], piece);
    const found = [];
    for (let index = begin.index; index <= end.index; index += 1) {
      const text = this.#lines[index].shown;
      found.push(text.slice(index === begin.index ? offset(begin, from) : 0, index === end.index ? offset(end, until) : text.length));
    }
    return found.join("\n");
  }
}

function labelled(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function rowOf(node, rows) {
  const element = node?.nodeType === Node.ELEMENT_NODE ? node : node?.parentElement;
  const row = element?.closest(".row");
  return row && rows.contains(row) ? row : null;
}

// How many characters of the row's text stand before this place of the document.
function offsetIn(row, container, at) {
  const text = row.querySelector(".text");
  const range = document.createRange();
  range.selectNodeContents(text);
  if (range.comparePoint(container, at) < 0) return 0;
  if (range.comparePoint(container, at) > 0) return text.textContent.length;
  range.setEnd(container, at);
  return range.toString().length;
}
