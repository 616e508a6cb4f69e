// Models: what there is, and one model's versions, measured quality and inputs.

import { get } from "./api.js";
import { card, digits, empty, facts, h, table, when } from "./dom.js";

const words = (name) => name.replaceAll("_", " ");

export async function models(view) {
  const { models: rows } = await get("/models");
  const language = rows.filter((row) => ["llm", "embedding"].includes(row.type));
  const own = rows.filter((row) => !language.includes(row));
  view.append(h("h1", {}, "Models"),
    card("Predictive models", own.length ? table([
      ["Model", (row) => h("a", { href: `#/models/${encodeURIComponent(row.name)}` }, row.name)], ["Family", (row) => words(row.type)], ["Version", (row) => row.version, true],
      ["Ready", (row) => (row.ready ? "✓ yes" : "in training")], ["What it says", (row) => row.description],
    ], own) : empty("Your key may use no predictive model.")),
    card("Language models", language.length ? table([
      ["Model", (row) => row.name], ["Provider", (row) => row.provider], ["Upstream", (row) => row.upstream_model],
      ["Context", (row) => row.context_window, true], ["Ready", (row) => (row.configured ? "✓ yes" : `needs ${(row.missing ?? []).join(", ")}`)],
    ], language) : empty("Your key may use no language model.")));
}

export async function model(view, _query, name) {
  const one = await get(`/models/${encodeURIComponent(name)}`);
  view.append(h("h1", {}, one.name, " ", h("small", {}, words(one.type))), h("p", {}, one.description));
  if (!one.versions) {
    view.append(card("", facts([["Provider", one.provider], ["Upstream", one.upstream_model], ["Context window", String(one.context_window ?? "–")], ["Ready", one.configured ? "✓ yes" : `needs ${(one.missing ?? []).join(", ")}`]])));
    return;
  }
  const serving = one.versions.find((row) => row.version === one.version);
  view.append(
    card("Versions", one.versions.length ? table([
      ["Version", (row) => row.version, true], ["Aliases", (row) => (row.aliases ?? []).join(", ")], ["Made", (row) => when(row.created_at)], ["By", (row) => row.created_by],
      ["Artifact", (row) => h("code", { title: row.artifact }, `${row.artifact.slice(0, 12)}…`)], ["Data", (row) => (row.data_hash ? h("code", { title: row.data_hash }, `${row.data_hash.slice(0, 12)}…`) : "–")], ["Seed", (row) => row.seed, true],
    ], one.versions) : empty("No version is registered yet: it is in training, or was never trained.")),
    metrics(one.versions),
    serving?.card ? limits(serving.card) : "",
    one.schema?.features ? card("What it takes", table([
      ["Feature", (row) => h("code", {}, row.name)], ["Meaning", (row) => row.description], ["Unit", (row) => row.unit],
      ["Seen from", (row) => digits(row.minimum), true], ["to", (row) => digits(row.maximum), true],
    ], one.schema.features)) : "");
}

/** Every version's figures side by side, newest first. */
function metrics(versions) {
  const shown = versions.slice(0, 5);
  const names = [...new Set(shown.flatMap((row) => Object.keys(row.metrics ?? {})))];
  if (!names.length) return "";
  return card("Out of sample, beside a baseline", table([["Metric", (name) => words(name)],
    ...shown.map((row) => [`version ${row.version}`, (name) => digits(row.metrics?.[name]), true])], names));
}

function limits(found) {
  return card("What it is for, and its limits", found.intended_use ? h("p", {}, found.intended_use) : null, found.method ? h("p", { class: "note" }, String(found.method)) : null,
    Array.isArray(found.limits) ? h("ul", {}, found.limits.map((one) => h("li", {}, String(one)))) : null);
}
