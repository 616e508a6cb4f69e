// The other views: overview, tasks, models, money, keys, audit.

import { api, get } from "./api.js";
import { bars } from "./charts.js";
import { badge, card, digits, empty, facts, h, table, took, usd, when } from "./dom.js";

export async function overview(view) {
  const [stats, latest] = await Promise.all([get("/stats"), get("/runs?limit=8")]);
  const failing = Object.entries(stats.failing_deployments ?? {});
  view.append(
    h("h1", {}, "Today"),
    h("div", { class: "tiles" }, [
      ["Calls", stats.today.calls], ["Tokens", stats.today.tokens], ["Cost", usd(stats.today.cost)],
      ["Running", stats.tasks.running], ["Waiting", stats.tasks.pending], ["Failed, ever", stats.tasks.failed],
    ].map(([name, value]) => h("div", { class: "tile" }, h("b", {}, String(value)), h("span", {}, name)))),
    failing.length ? card("Deployments that fail", table([["Deployment", ([name]) => name], ["Failures in a row", ([, count]) => count, true]], failing)) : "",
    card("Latest runs", latest.runs.length ? table([
      ["Run", (run) => h("a", { href: `#/runs/${run.run_id}` }, run.workflow_id)], ["State", (run) => badge(run.status)],
      ["Begun", (run) => when(run.created_at)], ["Took", (run) => took(run.started_at, run.completed_at), true], ["Cost", (run) => usd(run.cost), true],
    ], latest.runs) : empty("No run yet.", h("a", { href: "#/runs" }, "Start one"), ".")),
    card("Calls by model, today", stats.today.models.length ? bars(stats.today.models.map((row) => [row.model, row.calls, `${row.calls} · ${usd(row.cost)}`]), "calls") : empty("No model was called today.")),
    card("", facts([["Version", stats.version], ["Configuration", h("code", {}, stats.config)], ["Prometheus", stats.monitoring.prometheus_url ? h("a", { href: stats.monitoring.prometheus_url }, "open") : "not set"], ...Object.entries(stats.queue_depth).map(([name, count]) => [`Queue ${name}`, String(count)])])));
  const timer = setTimeout(() => dispatchEvent(new HashChangeEvent("hashchange")), 1000 * stats.monitoring.interval_seconds);
  return () => clearTimeout(timer);
}

export async function tasks(view, query) {
  const status = query.get("status") ?? "";
  const cursor = query.get("cursor");
  const page = await get(`/tasks?limit=40${status ? `&status=${status}` : ""}${cursor ? `&cursor=${cursor}` : ""}`);
  view.append(h("h1", {}, "Tasks"), card("",
    h("p", { class: "filter" }, ["", "pending", "running", "completed", "failed", "cancelled"].map((state) => h("a", { href: `#/tasks${state ? `?status=${state}` : ""}`, "aria-current": state === status ? "true" : null }, state || "all"))),
    page.tasks.length ? table([
      ["Task", (task) => task.task_type],
      ["State", (task) => badge(task.status)], ["Of run", (task) => (task.workflow_id ? h("a", { href: `#/runs/${task.run_id}` }, task.workflow_id) : "–")],
      ["Attempts", (task) => task.attempts, true], ["Begun", (task) => when(task.created_at)], ["Took", (task) => took(task.started_at, task.completed_at), true],
      ["Cost", (task) => usd(task.cost), true], ["What went wrong", (task) => (task.error ? `${task.error.code}: ${task.error.message}` : "")],
    ], page.tasks) : empty("No task here. Submit one with", h("code", {}, "POST /tasks"), ", or start a workflow."),
    page.next_cursor ? h("a", { class: "button", href: `#/tasks?${new URLSearchParams({ ...(status ? { status } : {}), cursor: page.next_cursor })}` }, "Older") : null));
}

export async function models(view) {
  const { models: rows } = await get("/models");
  const language = rows.filter((row) => ["llm", "embedding"].includes(row.type));
  const own = rows.filter((row) => !language.includes(row));
  view.append(h("h1", {}, "Models"),
    card("Language models", table([
      ["Model", (row) => row.name], ["Provider", (row) => row.provider], ["Upstream", (row) => row.upstream_model],
      ["Context", (row) => row.context_window, true], ["Ready", (row) => (row.configured ? "✓ yes" : `needs ${(row.missing ?? []).join(", ")}`)],
    ], language)),
    card("Predictive models", table([
      ["Model", (row) => h("a", { href: `#/models/${row.name}` }, row.name)], ["Family", (row) => row.type], ["Version", (row) => row.version, true],
      ["Ready", (row) => (row.ready ? "✓ yes" : "in training")], ["What it says", (row) => row.description],
    ], own)));
}

export async function model(view, _query, name) {
  const one = await get(`/models/${encodeURIComponent(name)}`);
  view.append(h("h1", {}, one.name, " ", h("small", {}, one.type)), h("p", {}, one.description),
    card("Versions", one.versions?.length ? table([
      ["Version", (row) => row.version, true], ["Aliases", (row) => (row.aliases ?? []).join(", ")], ["Made", (row) => when(row.created_at)], ["By", (row) => row.created_by],
      ["Artifact", (row) => h("code", { title: row.artifact }, `${row.artifact.slice(0, 12)}…`)],
    ], one.versions) : empty("No version is registered yet: it is in training, or was never trained.")),
    one.metrics ? card("Out of sample, beside a baseline", facts(Object.entries(one.metrics).map(([label, value]) => [label.replaceAll("_", " "), digits(value)]))) : "",
    one.schema?.features ? card("What it takes", table([
      ["Feature", (row) => h("code", {}, row.name)], ["Meaning", (row) => row.description], ["Unit", (row) => row.unit],
      ["Seen from", (row) => digits(row.minimum), true], ["to", (row) => digits(row.maximum), true],
    ], one.schema.features)) : "");
}

export async function money(view) {
  const usage = await get("/usage?by=model,provider");
  const budgets = await get("/budgets").catch((error) => error);
  const byCost = [...usage.rows].sort((a, b) => Number(b.cost) - Number(a.cost) || b.calls - a.calls);
  view.append(h("h1", {}, "Usage and budgets"),
    facts([["Cost in all", usd(usage.total_cost)], ["Calls", String(usage.calls)]]),
    card("Cost by model", byCost.length ? bars(byCost.map((row) => [row.model, Number(row.cost), usd(row.cost)]), "USD") : empty("Nothing was called yet.")),
    byCost.length ? card("", table([
      ["Model", (row) => row.model], ["Provider", (row) => row.provider], ["Calls", (row) => row.calls, true], ["Input tokens", (row) => row.input_tokens, true],
      ["of these cached", (row) => row.cached_tokens, true], ["Output tokens", (row) => row.output_tokens, true], ["Inference", (row) => `${digits(row.inference_seconds)} s`, true], ["Cost", (row) => usd(row.cost), true],
    ], byCost)) : "",
    card("Budgets", budgets instanceof Error ? h("p", { class: "note" }, budgets.message) : budgets.budgets.length ? table([
      ["For", (row) => `${row.scope} ${row.subject === "*" ? "" : row.subject}`], ["Window", (row) => row.window],
      ["Limit", (row) => usd(row.limit_usd), true], ["Spent", (row) => usd(row.spent_usd), true], ["Reserved", (row) => usd(row.reserved_usd), true],
      ["Used", (row) => meter(row)], ["Resets", (row) => when(row.resets_at)],
    ], budgets.budgets.filter((row) => row.active)) : empty("No budget is set. An operator sets one with", h("code", {}, "ai-gateway budgets create"), ".")));
}

function meter(row) {
  const share = (Number(row.spent_usd) + Number(row.reserved_usd)) / (Number(row.limit_usd) || 1);
  return h("meter", { min: 0, max: 1, high: 0.8, value: Math.min(share, 1), title: `${Math.round(100 * share)} %` }, `${Math.round(100 * share)} %`);
}

export async function keys(view) {
  const page = await get("/keys?limit=100");
  const told = h("p", { class: "error", role: "alert" }), shown = h("div");
  const name = h("input", { id: "key-name", required: true, maxlength: 100 }), role = h("select", { id: "key-role" }, ["viewer", "developer", "analyst", "operator", "admin"].map((one) => h("option", {}, one)));
  const make = async (event) => {
    event.preventDefault();
    told.textContent = "";
    try {
      const made = await api("POST", "/keys", { name: name.value, role: role.value });
      shown.replaceChildren(h("p", { class: "secret" }, "Copy it now, it is shown this once: ", h("code", {}, made.key)));
    } catch (error) { told.textContent = `${error.message} ${error.mend}`; }
  };
  const revoke = async (row) => {
    if (!confirm(`Revoke the key “${row.name}”? Whoever uses it is shut out within seconds.`)) return;
    try { await api("DELETE", `/keys/${row.id}`); dispatchEvent(new HashChangeEvent("hashchange")); } catch (error) { told.textContent = error.message; }
  };
  view.append(h("h1", {}, "Keys"), card("", page.keys.length ? table([
    ["Name", (row) => row.name], ["Role", (row) => row.role], ["Principal", (row) => row.principal], ["Ends in", (row) => h("code", {}, row.hint)],
    ["Models", (row) => row.models.join(", ")], ["Made", (row) => when(row.created_at)], ["Expires", (row) => when(row.expires_at)],
    ["", (row) => (row.revoked_at ? "revoked" : h("button", { class: "quiet", onclick: () => revoke(row) }, "Revoke"))],
  ], page.keys) : empty("No key.")),
  card("Make a key", h("form", { onsubmit: make }, h("label", { for: "key-name" }, "Name"), name, h("label", { for: "key-role" }, "Role"), role, told, h("button", {}, "Make"), shown)));
}

export async function audit(view, query) {
  const cursor = query.get("cursor");
  const page = await get(`/audit?limit=50${cursor ? `&cursor=${cursor}` : ""}`);
  const proof = h("span", { role: "status" });
  const verify = async () => {
    proof.textContent = " walking the chain…";
    const found = await get("/audit/verify");
    proof.textContent = found.ok ? ` ✓ ${found.records} records, unbroken` : ` ✗ ${found.problems?.[0]?.text ?? "broken"}`;
  };
  view.append(h("h1", {}, "Audit"), card("", h("p", {}, h("button", { onclick: verify }, "Verify the chain"), proof), page.records.length ? table([
    ["No.", (row) => row.seq, true], ["Time", (row) => when(row.at)], ["Who", (row) => row.actor], ["What", (row) => row.action], ["On", (row) => row.resource],
    ["Outcome", (row) => row.outcome], ["Request", (row) => h("code", { title: row.request_id }, row.request_id.slice(0, 14))],
  ], page.records) : empty("Nothing is on record yet."),
  page.next_cursor ? h("a", { class: "button", href: `#/audit?cursor=${page.next_cursor}` }, "Older") : null));
}
