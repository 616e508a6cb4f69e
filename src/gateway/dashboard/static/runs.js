// Runs: the list, starting one, and the page of one that is drawn anew with every event.

import { api, get, listen } from "./api.js";
import { figure } from "./charts.js";
import { badge, card, digits, empty, facts, h, table, took, usd, when } from "./dom.js";
import { graph } from "./graph.js";

const ENDED = ["completed", "failed", "cancelled"];
const EXAMPLES = {
  risk_analysis: { market_data: { dataset: "sp500-20" }, analysis_prompt: "Analyse the risk of this portfolio." },
  scenario_generation: { market_data: { dataset: "sp500-20" } },
  model_training: { model: "risk-classifier", data: { dataset: "sp500-20" }, promote: false },
};

export async function runs(view, query) {
  const wanted = query.get("status") ?? "";
  const cursor = query.get("cursor");
  const path = `/runs?limit=30${wanted ? `&status=${wanted}` : ""}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;
  const page = await get(path);
  const filter = h("p", { class: "filter" }, ["", "running", ...ENDED].map((state) =>
    h("a", { href: `#/runs${state ? `?status=${state}` : ""}`, "aria-current": state === wanted ? "true" : null }, state || "all")));
  const list = page.runs.length ? table([
    ["Run", (run) => h("a", { href: `#/runs/${run.run_id}` }, run.workflow_id)],
    ["State", (run) => badge(run.status)],
    ["Progress", (run) => `${Math.round(run.progress * 100)} %`, true],
    ["Begun", (run) => when(run.created_at)],
    ["Took", (run) => took(run.started_at, run.completed_at), true],
    ["Cost", (run) => usd(run.cost), true],
    ["Owner", (run) => run.owner],
  ], page.runs) : empty(wanted ? `No run is ${wanted}.` : "No run yet. Start one of the workflows here, or with", wanted ? null : h("code", {}, "ai-gateway workflows run risk_analysis --follow"));
  const more = page.next_cursor ? h("a", { class: "button", href: `#/runs?${new URLSearchParams({ ...(wanted ? { status: wanted } : {}), cursor: page.next_cursor })}` }, "Older") : null;
  view.append(h("h1", {}, "Runs"), card("", filter, list, more), await starter());
}

async function starter() {
  const { workflows } = await get("/workflows");
  const choice = h("select", { id: "workflow" }, workflows.map((one) => h("option", { value: one.workflow_id }, one.name)));
  const input = h("textarea", { id: "input", rows: 6, spellcheck: "false" });
  const told = h("p", { class: "error", role: "alert" });
  const suggest = () => {
    const one = workflows.find((item) => item.workflow_id === choice.value);
    input.value = JSON.stringify(EXAMPLES[choice.value] ?? Object.fromEntries((one?.inputs ?? []).map((name) => [name, null])), null, 2);
  };
  choice.addEventListener("change", suggest);
  suggest();
  const start = async (event) => {
    event.preventDefault();
    told.textContent = "";
    try {
      const run = await api("POST", `/workflows/${encodeURIComponent(choice.value)}/runs`, { input: JSON.parse(input.value) });
      location.hash = `#/runs/${run.run_id}`;
    } catch (error) {
      told.textContent = error instanceof SyntaxError ? `This is not JSON: ${error.message}` : `${error.message} ${error.mend ?? ""}`;
    }
  };
  return card("Start a run", h("form", { onsubmit: start }, h("label", { for: "workflow" }, "Workflow"), choice, h("label", { for: "input" }, "Input (JSON)"), input, told, h("button", {}, "Start")));
}

export async function run(view, _query, id, say) {
  const head = h("div"), drawing = h("div", { class: "scroll" }), link = h("span", { class: "link" }), results = h("div");
  let current = null, waiting = null, chosen = null;
  const show = () => {
    if (ENDED.includes(current.status)) link.textContent = "";
    head.replaceChildren(...header(current, reload));
    drawing.replaceChildren(graph(current.steps, (step) => { chosen = step; show(); document.getElementById(`step-${step}`)?.scrollIntoView({ behavior: "smooth" }); }));
    results.replaceChildren(...conclusions(current.steps).map((step) => outcome(step, step.step_id === chosen)));
  };
  async function reload() {
    current = await get(`/runs/${id}`);
    show();
  }
  await reload();
  view.append(head, card("Steps", drawing, link), results);
  if (ENDED.includes(current.status)) return null;
  // Progress is drawn from the event itself; what has ended is asked for, a moment later, once.
  const onEvent = (event) => {
    const step = current.steps.find((one) => one.step_id === event.step_id);
    if (event.type === "workflow_progress" && step && step.status === "running") {
      step.progress = event.step_progress;
      step.progress_note = event.note;
      current.progress = event.progress;
      show();
      return;
    }
    if (event.type === "task_completed") say(`${event.step_id} completed`);
    if (event.type.startsWith("workflow_") && event.type !== "workflow_progress") say(`run ${event.type.slice(9)}`);
    waiting ??= setTimeout(() => { waiting = null; reload(); }, 120);
  };
  const stop = listen({ run_id: id }, onEvent, (up) => { link.textContent = up ? "live" : "connection lost; trying again…"; });
  const clock = setInterval(() => current && !ENDED.includes(current.status) && show(), 1000);
  return () => { stop(); clearInterval(clock); clearTimeout(waiting); };
}

/** What a reader wants first: the last steps say what the others were for. */
const conclusions = (steps) => steps.filter((step) => step.result || step.error).reverse();

function header(one, reload) {
  const cancel = async () => {
    if (confirm("Cancel this run? What has not begun will not, what runs is told to stop.")) {
      await api("POST", `/runs/${one.run_id}/cancel`, {});
      reload();
    }
  };
  return [
    h("h1", {}, one.workflow_id, " ", badge(one.status), ENDED.includes(one.status) ? null : h("button", { class: "quiet", onclick: cancel }, "Cancel")),
    facts([
      ["Progress", `${Math.round(one.progress * 100)} %`], ["Took", took(one.started_at, one.completed_at)], ["Cost", usd(one.cost)],
      ["Tokens", String(one.steps.reduce((sum, step) => sum + (step.result?.tokens_used ?? 0), 0))],
      ["Begun", when(one.created_at)], ["Owner", one.owner], ["Run", h("code", {}, one.run_id)], ["Request", h("code", {}, one.request_id)],
    ]),
    one.error ? problem(one.error) : null,
  ].filter(Boolean);
}

const problem = (error) => h("p", { class: "error", role: "alert" }, h("b", {}, error.code), ` – ${error.message} `, error.mend ? h("span", {}, `→ ${error.mend}`) : null);

function outcome(step, isChosen) {
  const result = step.result ?? {};
  const level = result.risk_level;
  return h("section", { class: isChosen ? "card chosen" : "card", id: `step-${step.step_id}` },
    h("h2", {}, step.step_id, " ", h("small", {}, step.task_type), " ", badge(step.status)),
    step.error ? problem(step.error) : null,
    level ? h("p", { class: `verdict ${level}` }, "Risk over the next month: ", h("b", {}, level)) : null,
    result.response ? prose(result) : null,
    result.facts?.length ? facts(result.facts.map((fact) => [fact.name, `${digits(fact.value)} ${fact.unit && fact.unit !== "date" ? fact.unit : ""}`])) : null,
    result.anomalies?.length ? anomalies(result.anomalies) : null,
    Object.values(result.plots ?? {}).map(figure),
    h("details", {}, h("summary", {}, "Everything, as JSON"), lazy(() => h("pre", {}, JSON.stringify({ ...result, plots: undefined }, null, 2).slice(0, 60_000)))));
}

/** Built when it is first opened: a large result would slow every redraw. */
function lazy(build) {
  const place = h("div");
  queueMicrotask(() => place.closest("details")?.addEventListener("toggle", () => place.firstChild ?? place.append(build()), { once: true }));
  return place;
}

function anomalies(rows) {
  return table([
    ["Day", (row) => h("time", {}, row.date)], ["Score", (row) => digits(row.score), true],
    ["Assets", (row) => (row.assets ?? []).map((asset) => asset.asset ?? asset).slice(0, 4).join(", ")],
    ["Why", (row) => (row.reasons ?? []).map((reason) => reason.text ?? reason).slice(0, 2).join("; ")],
  ], rows.slice(0, 12), rows.length > 12 ? `the first 12 of ${rows.length}` : null);
}

/** What the model said, each number marked: traced to a fact, or flagged. */
function prose(result) {
  const parts = [];
  let rest = result.response;
  for (const number of result.numbers ?? []) {
    const at = rest.indexOf(number.text);
    if (at < 0) continue;
    parts.push(rest.slice(0, at), h("mark", { class: number.status, title: number.status === "traced" ? `from ${number.source}` : "no fact has this number" }, number.text));
    rest = rest.slice(at + number.text.length);
  }
  return h("blockquote", {}, parts, rest, h("footer", {}, `${result.upstream_model || result.model} · ${result.tokens_used ?? "?"} tokens · marked numbers are traced, framed ones are flagged`));
}
