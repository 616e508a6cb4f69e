// Tasks: the list, and the page of one.

import { api, get, listen, rights } from "./api.js";
import { badge, card, empty, facts, filter, h, pages, table, took, trouble, usd, when } from "./dom.js";
import { outcome } from "./results.js";

const ENDED = ["completed", "failed", "cancelled", "skipped"];

export async function tasks(view, query) {
  const status = query.get("status") ?? "";
  const cursor = query.get("cursor");
  const page = await get(`/tasks?limit=40${status ? `&status=${status}` : ""}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  view.append(h("h1", {}, "Tasks"), card("", filter("tasks", ["pending", "running", "completed", "failed", "cancelled"], status),
    page.tasks.length ? table([
      ["Task", (task) => h("a", { href: `#/tasks/${task.task_id}` }, task.task_type)],
      ["State", (task) => badge(task.status)], ["Of run", (task) => (task.workflow_id ? h("a", { href: `#/runs/${task.run_id}` }, task.workflow_id) : "–")],
      ["Attempts", (task) => task.attempts, true], ["Begun", (task) => when(task.created_at)], ["Took", (task) => took(task.started_at, task.completed_at), true],
      ["Cost", (task) => usd(task.cost), true], ["What went wrong", (task) => (task.error ? `${task.error.code}: ${task.error.message}` : "")],
    ], page.tasks) : status ? empty(`No task is ${status}.`) : empty("No task here. Submit one with", h("code", {}, "POST /tasks"), ", or start a workflow."),
    pages("tasks", query, page.next_cursor)));
}

export async function task(view, _query, id, say) {
  const path = `/tasks/${encodeURIComponent(id)}`;
  let current = await get(path), waiting = null, gone = false;
  const told = h("p", { class: "error", role: "alert" }), link = h("p", { class: "link", role: "status" }), box = h("div");
  const cancel = async () => {
    if (!confirm("Cancel this task?")) return;
    try {
      await api("DELETE", `/tasks/${encodeURIComponent(id)}`);
      await reload();
    } catch (error) { told.replaceChildren(...trouble(error)); }
  };
  const show = () => {
    const open = !ENDED.includes(current.status);
    const alone = current.workflow_id === null; // a step of a run is called off with its run
    box.replaceChildren(
      h("h1", {}, current.task_type, " ", badge(current.status), " ", open && alone && rights.has("tasks:write") ? h("button", { class: "quiet", onclick: cancel }, "Cancel") : ""),
      facts([["Progress", `${Math.round((current.status === "completed" ? 1 : current.progress) * 100)} % ${current.progress_note ?? ""}`], ["Took", took(current.started_at, current.completed_at)],
        ["Cost", usd(current.cost)], ["Attempts", String(current.attempts)], ["Begun", when(current.created_at)],
        ["Of run", alone ? "stands alone" : h("a", { href: `#/runs/${current.run_id}` }, current.workflow_id)], ["Task", h("code", {}, current.task_id)]]),
      current.result || current.error ? outcome(current, false) : card("", empty(open ? "No result yet." : "It left no result.")));
    if (!open) link.textContent = "";
  };
  async function reload() {
    try {
      current = await get(path);
      if (!gone) show();
    } catch (error) { told.replaceChildren(...trouble(error)); }
  }
  show();
  view.append(box, told, link);
  if (ENDED.includes(current.status)) return null;
  const stop = listen({ task_id: id }, (event) => {
    if (/^task_(completed|failed|cancelled|retrying)$/.test(event.type)) say(`${current.task_type}: ${event.type.slice(5)}`);
    waiting ??= setTimeout(() => { waiting = null; reload(); }, 200);
  }, (up, why) => { link.textContent = up ? "live" : why ?? "connection lost; trying again…"; });
  return () => { gone = true; stop(); clearTimeout(waiting); };
}
