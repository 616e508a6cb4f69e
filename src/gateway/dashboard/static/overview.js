// The overview: how the gateway is, and what it does today. Drawn anew every interval the gateway names.

import { get } from "./api.js";
import { bars } from "./charts.js";
import { alarm, card, empty, facts, h, table, usd } from "./dom.js";
import { runTable } from "./runs.js";

export async function overview(view) {
  let gone = false, timer = null;
  const draw = async () => {
    const [stats, ready, running, latest] = await Promise.all([get("/stats"), readiness(), get("/runs?status=running&limit=8"), get("/runs?limit=8")]);
    if (gone) return;
    const focused = view.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    view.replaceChildren(...page(stats, ready, running.runs, latest.runs));
    if (focused) [...view.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
    again(stats.monitoring.interval_seconds);
  };
  const again = (seconds) => {
    timer = setTimeout(() => draw().catch((error) => {
      if (gone) return;
      view.querySelector(".stale")?.remove();
      view.prepend(h("div", { class: "stale" }, alarm(error))); // the last figures stay, and are told to be old
      again(5);
    }), 1000 * seconds);
  };
  await draw();
  return () => { gone = true; clearTimeout(timer); };
}

/** 503 is an answer too: it names the part that is down. */
const readiness = () => get("/readyz").catch((error) => ({ status: error.message, parts: error.body?.parts ?? {} }));

function page(stats, ready, running, latest) {
  const failing = Object.entries(stats.failing_deployments ?? {});
  const bad = Object.entries(ready.parts).filter(([, state]) => state !== "ok");
  return [
    h("h1", {}, "Today", " ", h("span", { class: `badge ${ready.status === "ready" && !bad.length ? "completed" : "failed"}` }, ready.status === "ready" ? (bad.length ? "✗ ready, with a fault" : "✓ ready") : `✗ ${ready.status}`)),
    bad.length ? h("p", { class: "error", role: "alert" }, bad.map(([name, state]) => `${name}: ${state}`).join("; ")) : "",
    h("div", { class: "tiles" }, [
      ["Calls", stats.today.calls], ["Tokens", stats.today.tokens], ["Cost", usd(stats.today.cost)],
      ["Running", stats.tasks.running], ["Waiting", stats.tasks.pending], ["Failed, ever", stats.tasks.failed],
    ].map(([name, value]) => h("div", { class: "tile" }, h("b", {}, String(value)), h("span", {}, name)))),
    failing.length ? card("Deployments that fail", table([["Deployment", ([name]) => name], ["Failures in a row", ([, count]) => count, true]], failing)) : "",
    running.length ? card("Running now", runTable(running)) : "",
    card("Latest runs", latest.length ? runTable(latest) : empty("No run yet.", h("a", { href: "#/runs" }, "Start one"), ".")),
    card("Calls by model, today", stats.today.models.length ? bars(stats.today.models.map((row) => [row.model, row.calls, `${row.calls} · ${usd(row.cost)}`]), "calls") : empty("No model was called today.")),
    card("", facts([["Version", stats.version], ["Configuration", h("code", {}, stats.config)], ["Prometheus", stats.monitoring.prometheus_url ? h("a", { href: stats.monitoring.prometheus_url, rel: "noreferrer" }, "open") : "not set"], ...Object.entries(stats.queue_depth).map(([name, count]) => [`Queue ${name}`, String(count)])])),
  ];
}
