// Charts of what steps put under `plots`: line, band, bar, scatter, heatmap; with values under the pointer.

import { digits, h, s } from "./dom.js";

const WIDTH = 860, HEIGHT = 280, LEFT = 62, RIGHT = 16, TOP = 22, BOTTOM = 34;
const finite = (value) => typeof value === "number" && Number.isFinite(value);

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

function legend(plot) {
  const names = Object.keys(plot.series);
  if (names.length < 2 || plot.kind === "heatmap") return null;
  if (plot.kind === "band" && names.some((name) => name.includes("%"))) return h("p", { class: "legend" }, `median, and bands from ${names[0]} to ${names.at(-1)}`);
  return h("p", { class: "legend" }, names.map((name, at) => h("span", {}, h("i", { class: `swatch c${at % 6}` }), name)));
}

/** Where each point stands, from 0 to 1: by its date or number, else one after the other. */
function places(x) {
  const values = x.map((item) => (typeof item === "number" ? item : /^\d{4}-\d{2}-\d{2}/.test(item) ? Date.parse(item) : NaN));
  const low = Math.min(...values), span = Math.max(...values) - low;
  if (values.some(Number.isNaN) || !(span > 0)) return x.map((_, row) => (x.length > 1 ? row / (x.length - 1) : 0.5));
  return values.map((value) => (value - low) / span);
}

function ticks(low, high, count = 5) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found;
}

function plane(plot) {
  const names = Object.keys(plot.series);
  const percentiles = plot.kind === "band" && names.some((name) => name.includes("%"));
  const stacked = plot.kind === "band" && !percentiles;
  const columns = names.map((name) => plot.series[name].map((value) => (finite(value) ? value : null)));
  if (stacked) columns.forEach((column, at) => at && column.forEach((value, row) => { column[row] = value + columns[at - 1][row]; }));
  const values = columns.flat().filter(finite);
  const log = plot.log && Math.min(...values) > 0;
  const scale = log ? Math.log10 : (value) => value;
  let low = Math.min(...values), high = Math.max(...values);
  if (plot.kind === "bar" || stacked) low = Math.min(low, 0);
  [low, high] = [scale(low), scale(high)];
  if (high - low < 1e-12) [low, high] = [low - 0.5, high + 0.5];
  const count = plot.x.length;
  const inner = WIDTH - LEFT - RIGHT;
  const at = plot.kind === "bar" ? plot.x.map((_, row) => (row + 0.5) / count) : places(plot.x);
  const px = (row) => LEFT + at[row] * inner;
  const py = (value) => HEIGHT - BOTTOM - ((scale(value) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const line = (column) => {
    let pen = "M";
    return column.map((value, row) => {
      if (value === null) { pen = "M"; return ""; }
      const part = `${pen}${px(row).toFixed(1)} ${py(value).toFixed(1)}`;
      pen = "L";
      return part;
    }).join("");
  };
  const between = (lower, upper) => `M${upper.map((value, row) => `${px(row).toFixed(1)} ${py(value).toFixed(1)}`).join("L")}L${lower.map((value, row) => `${px(row).toFixed(1)} ${py(value).toFixed(1)}`).reverse().join("L")}Z`;

  const marks = (log ? ticks(low, high, 4).map((power) => 10 ** power) : ticks(low, high));
  const grid = marks.map((value) => [
    s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: py(value), y2: py(value) }),
    s("text", { class: "tick end", x: LEFT - 8, y: py(value) + 4 }, digits(log ? Number(value.toPrecision(2)) : Number(value.toPrecision(6)))),
  ]);
  let free = 0;
  const below = plot.x.map((label, row) => {
    if (px(row) < free) return null;
    free = px(row) + 92;
    return s("text", { class: "tick mid", x: Math.min(px(row), WIDTH - 24), y: HEIGHT - BOTTOM + 18 }, short(label));
  });
  const shapes = [];
  if (percentiles) {
    for (let at = 0; at < Math.floor(names.length / 2); at += 1) shapes.push(s("path", { class: "band", d: between(columns[at], columns[names.length - 1 - at]) }));
    shapes.push(s("path", { class: "line c0", d: line(columns[Math.floor(names.length / 2)]) }));
  } else if (stacked) {
    columns.forEach((column, at) => shapes.push(s("path", { class: `area c${at % 6}`, d: between(at ? columns[at - 1] : column.map(() => 0), column) })));
  } else if (plot.kind === "bar") {
    const wide = Math.max((inner / count) * 0.8, 1);
    columns[0].forEach((value, row) => value !== null && shapes.push(s("rect", { class: "column", x: px(row) - wide / 2, width: wide, y: Math.min(py(value), py(0)), height: Math.abs(py(value) - py(0)) })));
  } else if (plot.kind === "scatter") {
    columns.forEach((column, at) => column.forEach((value, row) => value !== null && shapes.push(s("circle", { class: `point c${at % 6}`, cx: px(row), cy: py(value), r: 3.2 }))));
  } else {
    columns.forEach((column, at) => shapes.push(s("path", { class: `line c${at % 6}`, d: line(column) })));
  }
  const cursor = s("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, x1: -9, x2: -9 });
  const told = s("text", { class: "told", x: LEFT, y: 13 });
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": plot.title ?? "chart" }, grid, below, shapes, cursor, told);
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const pointer = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / inner;
    const row = at.reduce((best, place, other) => (Math.abs(place - pointer) < Math.abs(at[best] - pointer) ? other : best), 0);
    cursor.setAttribute("x1", px(row));
    cursor.setAttribute("x2", px(row));
    told.textContent = `${plot.x[row]}: ${names.map((name) => `${names.length > 1 ? `${name} ` : ""}${digits(plot.series[name][row])}`).join(", ")}`;
  });
  drawing.addEventListener("pointerleave", () => { cursor.setAttribute("x1", -9); cursor.setAttribute("x2", -9); told.textContent = ""; });
  return drawing;
}

const short = (label) => (typeof label === "string" && /^\d{4}-\d{2}-\d{2}/.test(label) ? label.slice(0, 7) : typeof label === "number" ? digits(label) : String(label).slice(0, 8));

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
  return s("svg", { viewBox: `0 0 ${left + rows.length * size + 10} ${top + rows.length * size + 48}`, class: "heatmap", role: "img", "aria-label": plot.title ?? "heat map" }, cells, labels);
}
