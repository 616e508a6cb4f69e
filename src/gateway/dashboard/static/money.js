// Usage and budgets. Amounts are shown as the text the gateway sent; only the heights of bars are floats.

import { get } from "./api.js";
import { bars, figure } from "./charts.js";
import { card, digits, empty, facts, h, table, trouble, usd, when } from "./dom.js";

const DAYS = 30, DAY = 86_400_000;

export async function money(view) {
  const since = new Date(Date.now() - (DAYS - 1) * DAY).toISOString().slice(0, 10);
  const [usage, daily, month, budgets] = await Promise.all([get("/usage?by=model,provider"), get(`/usage?by=model,day&since=${since}`), get("/usage/forecast"), get("/budgets").catch((error) => error)]);
  const byCost = [...usage.rows].sort((a, b) => Number(b.cost) - Number(a.cost) || b.calls - a.calls);
  view.append(h("h1", {}, "Usage and budgets"),
    facts([["Cost in all", usd(usage.total_cost)], ["Calls", String(usage.calls)], [`Cost since ${since}`, usd(daily.total_cost)], [`Spent in ${month.month}`, usd(month.spent_usd)], ["Expected at its end", expected(month)]]),
    card("", daily.rows.length ? byDay(daily.rows) : empty("Nothing was called in the last 30 days.")),
    card("Cost by model", byCost.length ? bars(byCost.map((row) => [row.model, Number(row.cost), usd(row.cost)]), "USD") : empty("Nothing was called yet.")),
    byCost.length ? card("", table([
      ["Model", (row) => row.model], ["Provider", (row) => row.provider], ["Calls", (row) => row.calls, true], ["Input tokens", (row) => row.input_tokens, true],
      ["of these cached", (row) => row.cached_tokens, true], ["Output tokens", (row) => row.output_tokens, true], ["Inference", (row) => `${digits(row.inference_seconds)} s`, true], ["Cost", (row) => usd(row.cost), true],
    ], byCost)) : "",
    card("Budgets", allowed(budgets)));
}

/** The month's forecast with its interval; why there is none where the history is too short. */
function expected(month) {
  if (month.expected_usd === null) return `${month.history_days} days are too few to tell`;
  const about = (text) => `$${digits(Number(text))}`; // a forecast is no amount: its digits say nothing
  if (month.low_usd === null) return about(month.expected_usd);
  return `${about(month.expected_usd)} (${about(month.low_usd)} to ${about(month.high_usd)})`;
}

/** Columns of each day's cost, a colour for each model; of its calls, where nothing cost anything. */
function byDay(rows) {
  const days = [...new Set(rows.map((row) => row.day))].sort();
  const x = []; // every day between the first and the last: a day without a call is a gap, not a neighbour
  for (let at = Date.parse(days[0]); at <= Date.parse(days.at(-1)); at += DAY) x.push(new Date(at).toISOString().slice(0, 10));
  const free = rows.every((row) => Number(row.cost) === 0);
  const weight = (row) => (free ? row.calls : Number(row.cost));
  const sums = new Map();
  for (const row of rows) sums.set(row.model, (sums.get(row.model) ?? 0) + weight(row));
  const order = [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const named = order.length > 6 ? order.slice(0, 5) : order; // six colours: the smallest share the last
  const series = {};
  for (const name of order.length > 6 ? [...named, "others"] : named) series[name] = x.map(() => 0);
  for (const row of rows) series[named.includes(row.model) ? row.model : "others"][x.indexOf(row.day)] += weight(row);
  return figure({ kind: "bar", title: free ? "Calls by day: nothing has cost anything" : "Cost by day", unit: free ? "calls" : "USD", x, series });
}

function allowed(budgets) {
  if (budgets instanceof Error) return h("p", { class: "note" }, trouble(budgets));
  const active = budgets.budgets.filter((row) => row.active);
  return active.length ? table([
    ["For", (row) => `${row.scope} ${row.subject === "*" ? "" : row.subject}`], ["Window", (row) => row.window],
    ["Limit", (row) => usd(row.limit_usd), true], ["Spent", (row) => usd(row.spent_usd), true], ["Reserved", (row) => usd(row.reserved_usd), true],
    ["Used", (row) => meter(row)], ["Resets", (row) => when(row.resets_at)],
  ], active) : empty("No budget is set. An operator sets one with", h("code", {}, "ai-gateway budgets create"), ".");
}

function meter(row) {
  const share = (Number(row.spent_usd) + Number(row.reserved_usd)) / (Number(row.limit_usd) || 1);
  return [h("meter", { min: 0, max: 1, high: 0.8, value: Math.min(share, 1), "aria-label": "share used" }), ` ${Math.round(100 * share)} %`];
}
