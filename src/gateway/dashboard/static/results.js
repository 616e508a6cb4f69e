// What a step found, for reading: the model's text, key figures, tables, charts, and all of it as JSON.

import { figure } from "./charts.js";
import { badge, digits, facts, h, table } from "./dom.js";

const percent = (value, places = 1) => (typeof value === "number" ? `${(100 * value).toFixed(places)} %` : "–");
const signed = (value) => (value > 0 ? `+${percent(value)}` : percent(value));
const words = (name) => String(name).replaceAll("_", " ");

/** The section of a step that has ended, or failed on the way. */
export function outcome(step, isChosen) {
  const result = step.result ?? {};
  return h("section", { class: isChosen ? "card chosen" : "card", id: `step-${step.step_id}` },
    h("h2", {}, step.step_id, " ", h("small", {}, step.task_type), " ", badge(step.status)),
    step.error ? problem(step.error) : null,
    result.risk_level ? verdict(result) : null,
    result.response ? prose(result) : null,
    result.facts?.length ? facts(result.facts.map((fact) => [fact.name, amount(fact)])) : null,
    result.measures?.length ? measures(result.measures) : null,
    result.backtests?.length ? backtests(result.backtests) : null,
    result.measures && result.stresses?.length ? stresses(result.stresses) : null,
    result.comparison ? comparison(result) : null,
    result.anomalies?.length ? anomalies(result.anomalies, result.total) : null,
    Object.values(result.plots ?? {}).map(figure),
    step.result ? h("details", {}, h("summary", {}, "Everything, as JSON"), lazy(() => json({ ...result, plots: undefined }))) : null);
}

/** An error in full: its code, its words, what mends it, and its facts. */
export const problem = (error) => h("div", { class: "error", role: "alert" }, h("p", {}, h("b", {}, error.code), ` – ${error.message} `, error.mend ? h("span", {}, `→ ${error.mend}`) : null),
  error.details && Object.keys(error.details).length ? h("details", {}, h("summary", {}, "Its facts"), json(error.details)) : null);

const json = (value) => h("pre", { tabindex: 0 }, JSON.stringify(value, null, 2).slice(0, 60_000));

/** Built when it is first opened: a large result would slow the page. */
function lazy(build) {
  const place = h("div");
  queueMicrotask(() => place.closest("details")?.addEventListener("toggle", () => place.firstChild ?? place.append(build()), { once: true }));
  return place;
}

const amount = (fact) => (["", "date", "fraction", "ratio", undefined].includes(fact.unit) ? digits(fact.value) : `${digits(fact.value)} ${fact.unit}`);

function verdict(result) {
  return [
    h("p", { class: `verdict ${result.risk_level}` }, "Risk over the next month: ", h("b", {}, result.risk_level), result.as_of ? h("small", {}, ` as of ${result.as_of}`) : null),
    result.prediction_set?.length ? h("p", { class: "note" }, `The set that holds the truth in ${percent(result.coverage, 0)} of such cases: ${result.prediction_set.join(", ")}.`) : null,
    result.reasons?.length ? [h("h3", {}, "Why"), h("ul", {}, result.reasons.map((reason) => h("li", {}, reason.text ?? String(reason))))] : null,
  ];
}

/** What the model said, each number marked: traced to a fact, or flagged. */
function prose(result) {
  const parts = [], numbers = result.numbers ?? [];
  let rest = result.response;
  for (const number of numbers) {
    const at = rest.indexOf(number.text);
    if (at < 0) continue;
    const title = number.status === "traced" ? `from ${number.source}` : "no fact among the inputs has this number";
    parts.push(rest.slice(0, at), h("mark", { class: number.status, title }, number.text, h("span", { class: "hidden" }, ` (${number.status})`)));
    rest = rest.slice(at + number.text.length);
  }
  const traced = numbers.filter((number) => number.status === "traced").length;
  return h("blockquote", {}, parts, rest, h("footer", {}, `${result.upstream_model || result.model} · ${result.tokens_used ?? "?"} tokens · `,
    numbers.length ? ["of its numbers ", h("mark", { class: "traced" }, `${traced} traced`), " to the inputs, ", h("mark", { class: "flagged" }, `${numbers.length - traced} flagged`)] : "no numbers in it"));
}

const measures = (rows) => table([
  ["Method", (row) => words(row.method)], ["Horizon", (row) => (row.horizon_years ? `${row.horizon_years} y` : `${row.horizon_days} d`)], ["Level", (row) => percent(row.level, 0), true],
  ["VaR", (row) => percent(row.var, 2), true], ["± s.e.", (row) => percent(row.var_error, 2), true], ["ES", (row) => percent(row.es, 2), true], ["± s.e.", (row) => percent(row.es_error, 2), true],
], rows, "losses as shares of the value at the start; a negative figure is a gain");

const backtests = (rows) => table([
  ["Backtest", (row) => words(row.method)], ["Level", (row) => percent(row.level, 0), true], ["Days", (row) => row.days, true], ["Breaches", (row) => row.breaches, true],
  ["Expected", (row) => digits(row.expected), true], ["Kupiec p", (row) => digits(row.kupiec_p), true], ["Independence p", (row) => digits(row.independence_p), true], ["Basel zone", (row) => row.basel_zone],
], rows);

const stresses = (rows) => table([
  ["Stress", (row) => words(row.name)], ["What", (row) => row.description], ["Equity", (row) => signed(row.equity_change), true],
  ["Short rate", (row) => percent(row.short_rate, 2), true], ["Inflation", (row) => percent(row.inflation, 2), true],
], rows);

function comparison(result) {
  const found = result.comparison;
  const rows = [[`version ${result.version} (this one)`, found.challenger], [`baseline: ${words(found.baseline_name)}`, found.baseline]];
  if (typeof found.champion === "number") rows.splice(1, 0, [`champion before, version ${found.champion_version}`, found.champion]);
  return [table([["Model", ([name]) => name], [words(found.metric), ([, value]) => digits(value), true]], rows,
    `out of sample, ${found.period.start} to ${found.period.end}; ${found.higher_is_better ? "higher" : "lower"} is better; ${result.promoted ? "promoted to champion" : "not promoted"}`),
  found.caveat ? h("p", { class: "note" }, found.caveat) : null];
}

function anomalies(rows, total) {
  return table([
    ["Day", (row) => h("time", {}, row.date)], ["Score", (row) => digits(row.score), true],
    ["Assets", (row) => (row.assets ?? []).slice(0, 4).map((asset) => (asset.asset ? `${asset.asset} ${signed(asset.return)}` : String(asset))).join(", ")],
    ["Why", (row) => (row.reasons ?? []).map((reason) => reason.text ?? reason).slice(0, 2).join("; ")],
  ], rows.slice(0, 12), rows.length > 12 ? `the first 12 of ${total ?? rows.length}` : null);
}
