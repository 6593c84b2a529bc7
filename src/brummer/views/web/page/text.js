// Characters and words: what a person reads of a line, a time, a number. Pure.

// Invisible characters, and those that reorder a line, as brummer.core.visible has them: they are shown as numbers.
const HIDDEN =
  /[\0-\x08\x0a-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]|(?<![\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f\u0600-\u10ff\u1200-\u1cff\ua800-\ua8ff])[\u200c\u200d\ufe0e\ufe0f]/gu;
const PLAIN = /^[\x20-\x7e]*$/;
const TAB = 8;

const escaped = (found) => [...found].map((one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`).join("");

// The text as it may be shown: harmless, and with blanks for tabs; it begins in this column.
export function visible(text, begin = 0) {
  if (PLAIN.test(text)) return text;
  const [first, ...rest] = text.replace(HIDDEN, escaped).split("\t");
  let shown = first;
  let column = begin + cells(first);
  for (const piece of rest) {
    const blanks = TAB - (column % TAB);
    shown += " ".repeat(blanks) + piece;
    column += blanks + cells(piece);
  }
  return shown;
}

const SGR = /\x1b\[([0-9;:]{0,64})m/;
const STYLES = { 1: "bold", 2: "faint", 3: "italic", 4: "underlined" };
const LONGER = { 2: 4, 5: 2 }; // codes after 38 or 48: that of a mixed colour, that of a palette

// A line with colours (SGR): as it may be shown, and the runs that look otherwise, {at, end, className}.
export function coloured(raw) {
  if (!raw.includes("\x1b")) return { shown: visible(raw), runs: [] };
  const runs = [];
  let look = new Map();
  let shown = "";
  raw.split(SGR).forEach((piece, index) => {
    if (index % 2) {
      look = lookAfter(look, piece);
      return;
    }
    const text = visible(piece, cells(shown));
    if (look.size && text) runs.push({ at: shown.length, end: shown.length + text.length, className: [...look.values()].join(" ") });
    shown += text;
  });
  return { shown, runs };
}

function lookAfter(look, codes) {
  const next = new Map(look);
  const numbers = codes.split(/[;:]/).map(Number);
  for (let at = 0; at < numbers.length; at += 1) {
    const code = numbers[at];
    const hue = (code % 10) % 8;
    if (code === 0) next.clear();
    else if (code === 38 || code === 48) at += LONGER[numbers[at + 1]] ?? 1;
    else if (code === 39) next.delete("hue");
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) hue % 7 ? next.set("hue", `hue${hue}`) : next.delete("hue");
    else if (code === 22) next.delete(1), next.delete(2);
    else if (code === 23 || code === 24) next.delete(code - 20);
    else if (STYLES[code]) next.set(code, STYLES[code]);
  }
  return next;
}

// A part of a line in pieces of one look each: [text, className].
export function looks(text, begin, runs) {
  const found = [];
  let at = begin;
  const end = begin + text.length;
  for (const run of runs) {
    if (run.end <= at || run.at >= end) continue;
    if (run.at > at) found.push([text.slice(at - begin, run.at - begin), ""]);
    const from = Math.max(at, run.at);
    at = Math.min(end, run.end);
    found.push([text.slice(from - begin, at - begin), run.className]);
  }
  if (at < end || !found.length) found.push([text.slice(at - begin), ""]);
  return found;
}

const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1faff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const NARROWEST = /[\p{M}\p{Cf}]/u;

const width = (one) => (one < "\x7f" ? 1 : NARROWEST.test(one) ? 0 : WIDE.test(one) ? 2 : 1);

// How many columns of a monospaced font the text takes.
export function cells(text) {
  if (PLAIN.test(text)) return text.length;
  let sum = 0;
  for (const one of text) sum += width(one);
  return sum;
}

// The text in pieces that take at most so many columns each; at least one piece.
export function chunks(text, columns) {
  const found = [];
  if (PLAIN.test(text)) {
    for (let at = 0; at < text.length; at += columns) found.push(text.slice(at, at + columns));
    return found.length ? found : [""];
  }
  let piece = "";
  let sum = 0;
  for (const one of text) {
    const more = width(one);
    if (sum + more > columns && piece) {
      found.push(piece);
      piece = "";
      sum = 0;
    }
    piece += one;
    sum += more;
  }
  return [...found, piece];
}

const ADDRESS = /https?:\/\/[^\s"'<>`|\\^{}]+/g;
const CLOSING = /[.,;:!?)\]}]+$/;

// A line's text as parts: `{text}`, `{text, hit: true}` where the searched words stand, `{text, href}` for an address.
export function parts(text, pattern) {
  const marks = [];
  for (const found of text.matchAll(ADDRESS)) {
    const href = found[0].replace(CLOSING, "");
    marks.push({ at: found.index, end: found.index + href.length, href });
  }
  if (pattern) {
    pattern.lastIndex = 0;
    for (const found of text.matchAll(pattern)) {
      const end = found.index + found[0].length;
      if (found[0] && !marks.some((mark) => found.index < mark.end && end > mark.at)) marks.push({ at: found.index, end, hit: true });
    }
  }
  marks.sort((a, b) => a.at - b.at);
  const result = [];
  let at = 0;
  for (const { at: begin, end, ...kind } of marks) {
    if (begin > at) result.push({ text: text.slice(at, begin) });
    result.push({ text: text.slice(begin, end), ...kind });
    at = end;
  }
  if (at < text.length || !result.length) result.push({ text: text.slice(at) });
  return result;
}

// What the server searches for, as the browser finds it in a line; null if the browser reads it in another way.
export function patternOf(query, isRegex) {
  if (!query) return null;
  try {
    return new RegExp(isRegex ? query : query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "g");
  } catch {
    return null;
  }
}

// "4 s", "12 min", "3 h", "2 days".
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

const two = (number) => String(number).padStart(2, "0");

// The time of day, here, of a time as answers have it.
export function clock(at) {
  const time = new Date(at);
  return Number.isNaN(+time) ? "" : `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

// As `clock`, with the date if that is another day than now.
export function moment(at, now) {
  const time = new Date(at);
  return time.toDateString() === new Date(now).toDateString() ? clock(at) : `${time.getDate()}.${time.getMonth() + 1}. ${clock(at)}`;
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

// The last part of FILE:LINE.
export const brief = (where) => where.slice(where.lastIndexOf("/") + 1);
