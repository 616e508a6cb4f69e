// Prompts: what there is, and one prompt's texts, labels, results, and what differs between two versions.

import { get } from "./api.js";
import { alarm, card, digits, empty, facts, h, table, usd, when } from "./dom.js";

const MARKS = { "+": "plus", "-": "minus", "@": "at" };

/** Where a label points: 3, or 1 (90 %), 2 (10 %). */
function told(targets) {
  if (targets.length === 1) return `version ${targets[0].version}`;
  const total = targets.reduce((sum, one) => sum + one.weight, 0);
  return targets.map((one) => `version ${one.version} (${digits(100 * one.weight / total)} %)`).join(", ") || "nothing";
}

export async function prompts(view) {
  const { prompts: rows } = await get("/prompts");
  view.append(h("h1", {}, "Prompts"), card("", rows.length ? table([
    ["Prompt", (row) => h("a", { href: `#/prompts/${encodeURIComponent(row.name)}` }, row.name)], ["Newest", (row) => row.version, true],
    ["Labels", (row) => Object.entries(row.labels).map(([label, to]) => h("div", {}, h("b", {}, label), ` → ${told(to)}`))],
    ["Variables", (row) => Object.keys(row.variables).join(", ")], ["By", (row) => row.created_by], ["Made", (row) => when(row.created_at)],
  ], rows) : empty("No prompt is stored yet.", h("code", {}, "ai-gateway prompts add NAME --file prompt.yaml"), " adds one.")));
}

export async function prompt(view, query, name) {
  const path = `/prompts/${encodeURIComponent(name)}`;
  const version = query.get("version");
  const [one, { results }] = await Promise.all([
    get(`/prompts/${encodeURIComponent(name)}${version ? `?version=${encodeURIComponent(version)}` : ""}`),
    get(`/prompts/${encodeURIComponent(name)}/results?days=30`),
  ]);
  const histories = await Promise.all(Object.keys(one.labels).map((label) => get(`/prompts/${encodeURIComponent(name)}/labels/${encodeURIComponent(label)}`)));
  view.append(
    h("h1", {}, one.name, " ", h("small", {}, `version ${one.version}`)), one.comment ? h("p", {}, one.comment) : "",
    card("What it says", (one.messages ?? [{ role: "user", content: one.template }]).map((turn) => [h("h3", {}, turn.role), h("div", { class: "turn" }, turn.content)]), wishes(one.defaults)),
    variables(one.variables),
    card("Labels", histories.length ? histories.map((label) => [h("h3", {}, `${label.label} → ${told(label.targets)}`), table([
      ["Move", (row) => row.revision, true], ["To", (row) => told(row.targets)], ["What", (row) => row.action], ["By", (row) => row.by], ["At", (row) => when(row.at)], ["Why", (row) => row.reason],
    ], label.history)]) : empty("No label points here: the newest version answers.")),
    card("Results of 30 days", results.length ? table([
      ["Version", (row) => row.version, true], ["Label", (row) => row.label], ["Calls", (row) => row.calls, true], ["Failures", (row) => row.failures, true],
      ["Cost", (row) => usd(row.cost), true], ["p50", (row) => seconds(row.latency_seconds.p50), true], ["p95", (row) => seconds(row.latency_seconds.p95), true],
      ["Feedback", (row) => (row.feedback.count ? `${digits(row.feedback.mean)} (${row.feedback.count})` : "–"), true],
    ], results) : empty("No call has ended yet.")),
    card("Versions", table([
      ["Version", (row) => h("a", { href: `#${path}?version=${row.version}` }, row.version), true], ["Labels", (row) => row.labels.join(", ")], ["About", (row) => row.comment],
      ["By", (row) => row.created_by], ["Made", (row) => when(row.created_at)], ["Hash", (row) => h("code", { title: row.hash }, `${row.hash.slice(0, 12)}…`)],
    ], one.versions)),
    one.versions.length > 1 ? comparison(name, one.versions.map((row) => row.version), one.version) : "");
}

const seconds = (value) => (value === null ? "–" : `${digits(value)} s`);

function wishes(defaults) {
  const pairs = Object.entries({ ...(defaults.model ? { model: defaults.model } : {}), ...defaults.parameters, ...(defaults.response_format ? { response_format: defaults.response_format.type } : {}) });
  return pairs.length ? [h("h3", {}, "Where the request says nothing"), facts(pairs.map(([name, value]) => [name, String(value)]))] : "";
}

function variables(found) {
  const rows = Object.entries(found);
  return rows.length ? card("Variables", table([
    ["Variable", ([name]) => h("code", {}, name)], ["Type", ([, one]) => one.type], ["Required", ([, one]) => (one.required ? "yes" : "no")],
    ["Bounds", ([, one]) => Object.entries(one).filter(([name]) => !["type", "required", "description"].includes(name)).map(([name, value]) => `${name} ${JSON.stringify(value)}`).join(", ")],
    ["Meaning", ([, one]) => one.description ?? ""],
  ], rows)) : "";
}

/** Two versions to choose, and what differs between them. */
function comparison(name, numbers, current) {
  const choice = (id, chosen) => h("select", { id, onchange: show }, numbers.map((number) => h("option", { value: number, selected: number === chosen }, `version ${number}`)));
  const older = numbers[numbers.indexOf(current) + 1] ?? numbers.at(-1);
  const left = choice("from", older);
  const right = choice("to", older === current ? numbers[0] : current);
  const place = h("div", { "aria-live": "polite" });
  async function show() {
    try {
      place.replaceChildren(...await changed());
    } catch (error) { place.replaceChildren(alarm(error)); }
  }
  async function changed() {
    const { changes } = await get(`/prompts/${encodeURIComponent(name)}/diff?from=${left.value}&to=${right.value}`);
    return changes.length ? changes.flatMap((change) => [h("h3", {}, change.field), h("div", { class: "diff" }, change.lines.map((line) => h("span", { class: MARKS[line[0]] ?? null }, line)))]) : [empty("Nothing differs.")];
  }
  show();
  return card("What differs", h("p", {}, h("label", { for: "from" }, "from "), left, h("label", { for: "to" }, " to "), right), place);
}
