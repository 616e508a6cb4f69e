// The steps of a run as a drawing: layers by dependency, an arrow for each. Nodes are changed in place as the
// run goes on, so that whoever has one under the pointer or the keyboard keeps it.

import { s, took, usd } from "./dom.js";

const WIDE = 196, HIGH = 74, GAP_X = 56, GAP_Y = 22;
const MARKS = { completed: "✓", failed: "✗", running: "▶", pending: "…", cancelled: "⊘", skipped: "⤼" };

/** Each step's layer: one more than the deepest that it waits for. */
export function layers(steps) {
  const known = new Map(steps.map((step) => [step.step_id, step]));
  const depth = new Map();
  const of = (id) => {
    if (!depth.has(id)) {
      depth.set(id, 0);
      const before = known.get(id).depends_on.filter((name) => known.has(name));
      depth.set(id, before.length ? 1 + Math.max(...before.map(of)) : 0);
    }
    return depth.get(id);
  };
  const found = [];
  for (const step of steps) (found[of(step.step_id)] ??= []).push(step);
  return found;
}

/** [drawing, update]: `choose(step_id)` is called when a step is clicked or Enter is pressed on it. */
export function graph(steps, choose) {
  const columns = layers(steps);
  const rows = Math.max(...columns.map((column) => column.length));
  const width = columns.length * (WIDE + GAP_X) - GAP_X + 8;
  const height = rows * (HIGH + GAP_Y) - GAP_Y + 8;
  const places = new Map();
  columns.forEach((column, x) => column.forEach((step, y) => {
    const top = (height - column.length * (HIGH + GAP_Y) + GAP_Y) / 2 + y * (HIGH + GAP_Y);
    places.set(step.step_id, [4 + x * (WIDE + GAP_X), top]);
  }));
  const arrows = steps.flatMap((step) => step.depends_on.filter((name) => places.has(name)).map((name) => {
    const [x1, y1] = places.get(name), [x2, y2] = places.get(step.step_id);
    const from = x1 + WIDE, middle = (from + x2) / 2;
    return s("path", { class: "arrow", "marker-end": "url(#tip)", d: `M${from} ${y1 + HIGH / 2}C${middle} ${y1 + HIGH / 2} ${middle} ${y2 + HIGH / 2} ${x2 - 6} ${y2 + HIGH / 2}` });
  }));
  const nodes = new Map(steps.map((step) => [step.step_id, node(step.step_id, places.get(step.step_id), choose)]));
  const update = (newer) => newer.forEach((step) => nodes.get(step.step_id)?.show(step));
  update(steps);
  const drawing = s("svg", { class: "graph", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "steps of the run" },
    s("defs", {}, s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, s("path", { d: "M0 0L8 4L0 8z", class: "tip" }))),
    arrows, [...nodes.values()].map((one) => one.box));
  return [drawing, update];
}

function node(name, [x, y], choose) {
  const open = () => choose(name);
  const title = s("text", { x: 14, y: 25, class: "name" }), kind = s("text", { x: 14, y: 43, class: "kind" });
  const detail = s("text", { x: 14, y: 59, class: "kind" });
  const bar = s("rect", { class: "bar", x: 14, y: HIGH - 9, height: 4, rx: 2 });
  const box = s("g", { transform: `translate(${x} ${y})`, tabindex: 0, role: "link", onclick: open, onkeydown: (event) => event.key === "Enter" && open() },
    s("rect", { class: "box", width: WIDE, height: HIGH, rx: 10 }), title, kind, detail,
    s("rect", { class: "track", x: 14, y: HIGH - 9, width: WIDE - 28, height: 4, rx: 2 }), bar);
  const show = (step) => {
    const done = step.status === "completed" ? 1 : step.status === "running" ? step.progress : 0;
    box.setAttribute("class", `node ${step.status}`);
    box.setAttribute("aria-label", `${name}: ${step.status}, ${Math.round(done * 100)} %, ${said(step)}`);
    title.textContent = cut(`${MARKS[step.status] ?? "·"} ${name}`, 24);
    kind.textContent = cut(`${step.status === "completed" ? "" : `${step.status} · `}${step.task_type}`, 30);
    detail.textContent = cut(said(step), 30);
    bar.setAttribute("width", (WIDE - 28) * done);
  };
  return { box, show };
}

/** The line under a step's name: what it is at, or what it took and cost. */
function said(step) {
  if (step.status === "running" && step.progress_note) return `${Math.round(step.progress * 100)} % · ${step.progress_note}`;
  return [step.started_at ? took(step.started_at, step.completed_at) : null, Number(step.cost) > 0 ? usd(step.cost) : null,
    step.tokens_used ? `${step.tokens_used} tokens` : null, step.attempts > 1 ? `attempt ${step.attempts}` : null].filter(Boolean).join(" · ");
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
