// Runs: the list, and starting one.

import { api, get, rights } from "./api.js";
import { children } from "./children.js";
import { badge, card, empty, filter, h, pages, table, took, trouble, usd, when } from "./dom.js";

const EXAMPLES = {
  risk_analysis: { market_data: { dataset: "sp500-20" }, analysis_prompt: "Analyse the risk of this portfolio." },
  scenario_generation: { market_data: { dataset: "sp500-20" } },
  model_training: { model: "risk-classifier", data: { dataset: "sp500-20" }, promote: false },
};

/** The table of runs, here and on the overview. */
export const runTable = (rows) => table([
  ["Run", (run) => h("a", { href: `#/runs/${run.run_id}` }, run.workflow_id)],
  ["State", (run) => badge(run.status)],
  ["Progress", (run) => `${Math.round(run.progress * 100)} %`, true],
  ["Begun", (run) => when(run.created_at)],
  ["Took", (run) => took(run.started_at, run.completed_at), true],
  ["Cost", (run) => usd(run.cost), true],
  ["Owner", (run) => run.owner],
], rows);

export async function runs(view, query) {
  if (query.get("of")) return children(view, query);
  const wanted = query.get("status") ?? "";
  const cursor = query.get("cursor");
  const page = await get(`/runs?limit=30${wanted ? `&status=${wanted}` : ""}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  const list = page.runs.length ? runTable(page.runs)
    : wanted ? empty(`No run is ${wanted}.`) : !rights.has("workflows:run") ? empty("No run of yours yet.") : empty("No run yet. Start one of the workflows here, or with", h("code", {}, "ai-gateway workflows run risk_analysis --follow"));
  view.append(h("h1", {}, "Runs"), card("", filter("runs", ["pending", "running", "completed", "failed", "cancelled"], wanted), list, pages("runs", query, page.next_cursor)), await starter());
}

async function starter() {
  if (!rights.has("workflows:run")) return h("p", { class: "note" }, "Your key may look at runs, not start them: that needs workflows:run.");
  const { workflows } = await get("/workflows");
  workflows.sort((a, b) => (b.workflow_id === "risk_analysis") - (a.workflow_id === "risk_analysis"));
  const choice = h("select", { id: "workflow" }, workflows.map((one) => h("option", { value: one.workflow_id }, one.name)));
  const input = h("textarea", { id: "input", rows: 8, spellcheck: "false" });
  const told = h("p", { class: "error", role: "alert" });
  const suggest = () => {
    const one = workflows.find((item) => item.workflow_id === choice.value);
    input.value = JSON.stringify(EXAMPLES[choice.value] ?? Object.fromEntries((one?.inputs ?? []).map((name) => [name, null])), null, 2);
  };
  choice.addEventListener("change", suggest);
  suggest();
  const begin = h("button", {}, "Start");
  const start = async (event) => {
    event.preventDefault();
    told.textContent = "";
    begin.disabled = true; // two presses are one run
    try {
      const run = await api("POST", `/workflows/${encodeURIComponent(choice.value)}/runs`, { input: JSON.parse(input.value) });
      location.hash = `#/runs/${run.run_id}`;
    } catch (error) {
      if (error instanceof SyntaxError) told.textContent = `This is not JSON: ${error.message}`;
      else told.replaceChildren(...trouble(error));
    }
    begin.disabled = false;
  };
  return card("Start a run", h("form", { onsubmit: start }, h("label", { for: "workflow" }, "Workflow"), choice, h("label", { for: "input" }, "Input (JSON)"), input, told, begin));
}
