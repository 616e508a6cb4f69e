// Charts of what steps put under `plots`: line, band, bar, scatter, heatmap; with values under the pointer.

import { digits, h, s } from "./dom.js";

const HEIGHT = 280, LEFT = 62, RIGHT = 16, TOP = 22, BOTTOM = 40;
const finite = (value) => typeof value === "number" && Number.isFinite(value);
const isDate = (item) => typeof item === "string" && /^\d{4}-\d{2}-\d{2}/.test(item);
/** As wide as the page allows: a wide drawing shrunk to a telephone could not be read. */
const room = () => Math.min(860, Math.max(300, document.documentElement.clientWidth - 60));

/** The figure of a plot; nothing where there is nothing to draw. */
export function figure(plot) {
  if (!plot?.x?.length || !Object.keys(plot.series ?? {}).length) return null;
  const drawing = plot.kind === "heatmap" ? heatmap(plot) : plane(plot);
  return h("figure", {}, h("figcaption", {}, plot.title ?? "", plot.unit ? h("small", {}, ` ${plot.unit}`) : null), drawing, legend(plot));
}

/** Bars for a few named amounts, longest first. */
export function bars(rows, unit) {
  const most = Math.max(...rows.map(([, value]) => value), 0);
  return h("div", { class: "hbars" }, rows.map(([name, value, text]) => {
    const bar = h("span", { class: "hbar" });
    bar.style.width = `${most > 0 ? Math.max((100 * value) / most, value > 0 ? 1 : 0) : 0}%`;
    return [h("span", { class: "label" }, name), h("span", { class: "space" }, bar), h("span", { class: "num" }, text ?? `${digits(value)} ${unit}`)];
  }));
}

const isPercentiles = (plot) => plot.kind === "band" && Object.keys(plot.series).some((name) => name.includes("%"));

function legend(plot) {
  const names = Object.keys(plot.series);
  if (names.length < 2 || plot.kind === "heatmap") return null;
  if (isPercentiles(plot)) {
    return h("p", { class: "legend" }, h("span", {}, h("i", { class: "swatch c0" }), names[Math.floor(names.length / 2)]),
      h("span", {}, h("i", { class: "swatch wide" }), `bands, the widest from ${names[0]} to ${names.at(-1)}`));
  }
  return h("p", { class: "legend" }, names.map((name, at) => h("span", {}, h("i", { class: `swatch c${at % 6}` }), name)));
}

/** Where each point stands, from 0 to 1: by its date or number, else one after the other. */
function places(x) {
  const values = x.map((item) => (typeof item === "number" ? item : isDate(item) ? Date.parse(item) : NaN));
  const low = Math.min(...values), span = Math.max(...values) - low;
  if (values.some(Number.isNaN) || !(span > 0)) return x.map((_, row) => (x.length > 1 ? row / (x.length - 1) : 0.5));
  return values.map((value) => (value - low) / span);
}

/** Round numbers from low to high, some five of them. */
export function ticks(low, high, count = 5) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw * (1 - 1e-9));
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) found.push(Number((at * step).toPrecision(9)));
  return found;
}

/** The series as they are drawn: numbers or gaps, one on top of the other where they are shares of a whole. */
function heights(plot, names) {
  const columns = names.map((name) => plot.series[name].map((value) => (finite(value) ? value : null)));
  const stacked = (plot.kind === "band" && !isPercentiles(plot)) || (plot.kind === "bar" && names.length > 1);
  if (stacked) columns.forEach((column, at) => column.forEach((value, row) => { column[row] = value + (at ? columns[at - 1][row] : 0); }));
  return [columns, stacked];
}

function plane(plot) {
  const width = room(), inner = width - LEFT - RIGHT;
  const names = Object.keys(plot.series), bar = plot.kind === "bar", count = plot.x.length;
  const [columns, stacked] = heights(plot, names);
  const values = columns.flat().filter(finite);
  const log = plot.log && Math.min(...values) > 0;
  const scale = log ? Math.log10 : (value) => value;
  let low = Math.min(...values), high = Math.max(...values);
  if (bar || stacked) low = Math.min(low, 0);
  [low, high] = [scale(low), scale(high)];
  if (!(high - low > 1e-12)) [low, high] = [low - (bar ? 0 : 0.5), high + (bar ? 1 : 0.5)];
  const at = bar ? plot.x.map((_, row) => (row + 0.5) / count) : places(plot.x);
  const px = (row) => LEFT + at[row] * inner;
  const py = (value) => HEIGHT - BOTTOM - ((scale(value) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const levels = log ? ticks(low, high, 4).map((power) => Number((10 ** power).toPrecision(2))) : ticks(low, high);
  const grid = levels.map((value) => [
    s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: py(value), y2: py(value) }),
    s("text", { class: "tick end", x: LEFT - 8, y: py(value) + 4 }, digits(value)),
  ]);
  const across = plot.x_title ? s("text", { class: "tick end", x: width - RIGHT, y: HEIGHT - 4 }, plot.x_title) : null;
  const cursor = s("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, x1: -9, x2: -9 });
  const told = s("text", { class: "told", x: LEFT, y: 13 });
  const drawing = s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": plot.title || "chart" },
    grid, below(plot, px, inner), across, shapes(plot, names, columns, stacked, px, py, inner), marks(plot, width), cursor, told);
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const pointer = (((event.clientX - box.left) / box.width) * width - LEFT) / inner;
    const row = at.reduce((best, place, other) => (Math.abs(place - pointer) < Math.abs(at[best] - pointer) ? other : best), 0);
    cursor.setAttribute("x1", px(row));
    cursor.setAttribute("x2", px(row));
    told.textContent = `${plot.x[row]}: ${names.map((name) => `${names.length > 1 ? `${name} ` : ""}${digits(plot.series[name][row])}`).join(", ")}`;
  });
  drawing.addEventListener("pointerleave", () => { cursor.setAttribute("x1", -9); cursor.setAttribute("x2", -9); told.textContent = ""; });
  return drawing;
}

/** Lines, areas, columns or points. */
function shapes(plot, names, columns, stacked, px, py, inner) {
  const spot = (value, row) => `${px(row).toFixed(1)} ${py(value).toFixed(1)}`;
  const between = (lower, upper) => `M${upper.map(spot).join("L")}L${lower.map(spot).reverse().join("L")}Z`;
  const under = (place) => (stacked && place ? columns[place - 1] : columns[place].map(() => 0));
  const line = (column) => {
    let pen = "M";
    return column.map((value, row) => {
      if (value === null) { pen = "M"; return ""; }
      const part = `${pen}${spot(value, row)}`;
      pen = "L";
      return part;
    }).join("");
  };
  if (isPercentiles(plot)) {
    const half = Math.floor(columns.length / 2);
    return [columns.slice(0, half).map((column, place) => s("path", { class: "band", d: between(column, columns[columns.length - 1 - place]) })),
      s("path", { class: "line c0", d: line(columns[half]) })];
  }
  if (plot.kind === "bar") {
    const wide = Math.min(Math.max((inner / plot.x.length) * 0.8, 1), 120);
    return columns.map((column, place) => column.map((value, row) => value !== null && s("rect", {
      class: `column c${place % 6}`, x: px(row) - wide / 2, width: wide, y: Math.min(py(value), py(under(place)[row])), height: Math.abs(py(value) - py(under(place)[row])),
    })));
  }
  if (stacked) return columns.map((column, place) => s("path", { class: `area c${place % 6}`, d: between(under(place), column) }));
  if (plot.kind === "scatter") return columns.map((column, place) => column.map((value, row) => value !== null && s("circle", { class: `point c${place % 6}`, cx: px(row), cy: py(value), r: 3.2 })));
  return columns.map((column, place) => s("path", { class: `line c${place % 6}`, d: line(column) }));
}

/** From 0 to 1, where a number stands on the axis of a plot whose places are numbers. */
function share(plot) {
  const first = plot.x[0], last = plot.x.at(-1);
  const half = plot.kind === "bar" ? (last - first) / (plot.x.length - 1) / 2 : 0; // a bar stands in the middle of its slot
  return (value) => (value - first + half) / (last - first + 2 * half);
}

/** The labels under the axis: round numbers where it is numeric, else as many as there is room for. */
function below(plot, px, inner) {
  const text = (x, label, whole) => s("text", { class: "tick mid", x: Math.min(x, LEFT + inner - 8), y: HEIGHT - BOTTOM + 17 }, label, whole ? s("title", {}, whole) : null);
  if (plot.x.length > 1 && plot.x.every(finite) && plot.x.at(-1) > plot.x[0]) {
    const place = share(plot);
    return ticks(plot.x[0], plot.x.at(-1), Math.max(3, Math.floor(inner / 110))).map((value) => text(LEFT + place(value) * inner, digits(value)));
  }
  let free = 0;
  const dates = plot.x.every(isDate);
  // Dates months apart are told by their month; a few days, by their day.
  const months = dates && Date.parse(plot.x.at(-1)) - Date.parse(plot.x[0]) > 120 * 86_400_000;
  const most = dates ? 10 : Math.max(Math.min(Math.floor(inner / plot.x.length / 6.5), 24), 10);
  return plot.x.map((label, row) => {
    const shown = dates ? label.slice(0, months ? 7 : 10) : String(label).length > most ? `${String(label).slice(0, most - 1)}…` : String(label);
    const half = dates ? 46 : shown.length * 3.4 + 5;
    if (px(row) - half < free) return null;
    free = px(row) + half;
    return text(px(row), shown, shown === String(label) ? null : String(label));
  });
}

/** Vertical lines at stated places of a numeric axis. */
function marks(plot, width) {
  if (!plot.marks?.length || plot.x.length < 2 || !plot.x.every(finite)) return null;
  const place = share(plot), inner = width - LEFT - RIGHT;
  const drawn = plot.marks.map((mark, at) => {
    const where = place(mark.x);
    if (!(where >= 0 && where <= 1)) return null;
    const x = LEFT + where * inner, flip = x > width - 80;
    return [s("line", { class: "mark", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
      s("text", { class: flip ? "tick over end" : "tick over", x: x + (flip ? -3 : 3), y: TOP + 10 + 13 * at }, mark.label)];
  }).filter(Boolean);
  return [drawn.map(([line]) => line), drawn.map(([, word]) => word)]; // words lie above every line
}

function heatmap(plot) {
  const rows = Object.values(plot.series)[0];
  const size = Math.min(26, 520 / rows.length), left = 60, top = 8;
  const cells = rows.flatMap((row, y) => row.map((value, x) => {
    const cell = s("rect", { class: value >= 0 ? "warm" : "cold", x: left + x * size, y: top + y * size, width: size - 1, height: size - 1 }, s("title", {}, `${plot.x[y]} – ${plot.x[x]}: ${digits(value)}`));
    cell.style.fillOpacity = Math.min(Math.abs(value), 1);
    return cell;
  }));
  const labels = plot.x.map((name, at) => [
    s("text", { class: "tick end", x: left - 6, y: top + at * size + size / 2 + 4 }, name),
    s("text", { class: "tick end", transform: `translate(${left + at * size + size / 2 + 4} ${top + rows.length * size + 8}) rotate(-60)` }, name),
  ]);
  return s("svg", { viewBox: `0 0 ${left + rows.length * size + 10} ${top + rows.length * size + 48}`, class: "heatmap", role: "img", "aria-label": plot.title || "heat map" }, cells, labels);
}
