// What was saved and how, against which baseline; and what could be, with the figures it follows from.

import { get } from "./api.js";
import { bars } from "./charts.js";
import { card, empty, facts, h, table, usd } from "./dom.js";

const NAMES = {
  exact_cache: "Exact cache", semantic_cache: "Semantic cache", prompt_cache: "Provider's prompt cache",
  batch_discount: "Batch discount", compaction: "Shorter prompts", selection: "Model selection",
};
const name = (row) => NAMES[row.method] ?? row.method;

export async function savings(view) {
  const found = await get("/savings");
  const spent = Number(found.spent_usd), saved = Number(found.saved_usd);
  const share = spent + saved > 0 ? `${((100 * saved) / (spent + saved)).toFixed(1)} %` : "–";
  const shown = found.methods.filter((row) => Number(row.saved_usd) > 0);
  view.append(h("h1", {}, "Savings"),
    facts([["Spent in 30 days", usd(found.spent_usd)], ["Saved", usd(found.saved_usd)], ["of what it would have cost", share], ["Calls", String(found.calls)]]),
    card("Saved by each way", shown.length ? bars(shown.map((row) => [name(row), Number(row.saved_usd), usd(row.saved_usd)]), "USD") : empty("Nothing was saved in the last 30 days.")),
    card("", table([
      ["Way", name], ["Calls", (row) => row.calls, true], ["Tokens", (row) => row.tokens, true], ["Saved", (row) => usd(row.saved_usd), true],
      ["Measured against", (row) => row.baseline],
    ], found.methods), h("p", { class: "note" }, found.note)),
    card("What could be saved", found.recommendations.length ? found.recommendations.map(advice) : empty("Nothing is advised: callers' feedback (", h("code", {}, "POST /feedback"), ") and the ledger show no cheaper way that is as good.")));
}

/** One recommendation, and how to do its sum again. */
function advice(row) {
  const where = Object.entries(row.where).filter(([, value]) => value).map(([key, value]) => `${key} ${value}`).join(", ");
  return h("section", {}, h("p", {}, row.text),
    h("p", { class: "note" }, `${where}: ${row.calls} calls, ${usd(row.cost_usd)}; saves ${row.at_most ? "at most " : ""}${usd(row.saves_usd)}. From `,
      row.reproduce.map((path, at) => [at ? " and " : "", h("code", {}, path)]), "."),
    row.evidence.scores ? table([["Model", ([model]) => model], ["Scores", ([, score]) => score.ratings, true], ["Mean", ([, score]) => score.mean.toFixed(3), true]], Object.entries(row.evidence.scores)) : "");
}
