// Elements without markup in strings: whatever a model or a user wrote is only ever text.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An element: h("a", {href: "#/"}, "text", child, …). */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** A time as people read it, always in UTC. */
export function when(text) {
  if (!text) return "–";
  return h("time", { datetime: text, title: text }, `${text.slice(0, 10)} ${text.slice(11, 19)} UTC`);
}

/** The seconds between two times, or until now. */
export function took(start, end) {
  if (!start) return "–";
  const seconds = (new Date(end ?? Date.now()) - new Date(start)) / 1000;
  if (seconds < 60) return `${Math.max(seconds, 0).toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** An amount of USD. It comes as the text that the gateway sent, so no digit is lost. */
export const usd = (text) => (text === null || text === undefined ? "–" : `$${text}`);

/** A number with the digits that matter. */
export function digits(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value ?? "–");
  return String(Number(value.toPrecision(5)));
}

/** A state as a word with its mark: told by shape and word, not by colour alone. */
export function badge(state) {
  const marks = { completed: "✓", failed: "✗", running: "▶", pending: "…", cancelled: "⊘", skipped: "⤼" };
  return h("span", { class: `badge ${state}` }, `${marks[state] ?? "·"} ${state}`);
}

/** What the gateway said of a failure: its words, what mends it, and the request to ask about. */
export const trouble = (error) => [error.message, error.mend ? ` → ${error.mend}` : "",
  error.requestId ? h("span", { class: "note" }, " Request ", h("code", {}, error.requestId)) : ""];

/** The same, as a paragraph that is read out. */
export const alarm = (error) => h("p", { class: "error", role: "alert" }, trouble(error));

/** The address of a view; what is empty is left out of its question. */
export function address(view, asked) {
  const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value)).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

/** Links that narrow a list to one state; `kept` is what else the list is narrowed by. */
export const filter = (view, states, wanted, kept = {}) => h("nav", { class: "filter", "aria-label": "state" }, ["", ...states].map((status) =>
  h("a", { href: address(view, { ...kept, status }), "aria-current": status === wanted ? "true" : null }, status || "all")));

/** The way to the next page of a list, where there is one; and back to its start. */
export const pages = (view, query, next, kept = {}) => h("p", { class: "pages" },
  query.get("cursor") ? h("a", { class: "button", href: address(view, { ...kept, status: query.get("status") }) }, "Newest") : null,
  next ? h("a", { class: "button", href: address(view, { ...kept, status: query.get("status"), cursor: next }) }, "Older") : null);

/** A table of rows; columns are [heading, row => cell, isNumber]. */
export function table(columns, rows, caption) {
  return h("div", { class: "scroll" }, h("table", {},
    caption ? h("caption", {}, caption) : null,
    h("thead", {}, h("tr", {}, columns.map(([name, , number]) => h("th", { scope: "col", class: number ? "num" : null }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(([, cell, number]) => h("td", { class: number ? "num" : null }, cell(row) ?? "–")))))));
}

/** A section with a heading. */
export const card = (title, ...content) => h("section", { class: "card" }, title ? h("h2", {}, title) : null, content);

/** What to show, and do, where there is nothing yet. */
export const empty = (text, ...more) => h("p", { class: "empty" }, text, " ", more);

/** Label and value, side by side. */
export const facts = (pairs) => h("dl", { class: "facts" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value ?? "–"))));
