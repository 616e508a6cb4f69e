// The runs within a run: on its page the newest of them, live, and what they come to; all of them on pages of their own.

import { get } from "./api.js";
import { address, badge, card, empty, filter, h, pages, table, took, trouble, usd } from "./dom.js";

/** So many stand on the page of the run. They are asked for at most once in PAUSE, in ms; while some go on, and no
 * event says so, once in LIVELY. */
const SHOWN = 20, PAUSE = 1000, LIVELY = 2000;
const STATES = ["pending", "running", "paused", "completed", "failed", "cancelled"];
const LIVE = ["pending", "running", "paused"];
const place = (child) => (child.item_index === null ? child.step_id : `${child.step_id}[${child.item_index}]`);
const all = (id, step, status) => address("runs", { of: id, step, status });

/** The table, and what brings the times of those that go on up to date. */
function childTable(rows) {
  const times = rows.map((child) => [child, h("span", {}, took(child.started_at, child.completed_at))]);
  const cells = new Map(times);
  const box = table([
    ["Run", (child) => h("a", { href: `#/runs/${child.run_id}` }, place(child))], ["Workflow", (child) => child.workflow_id],
    ["State", (child) => badge(child.status)], ["Progress", (child) => `${Math.round(child.progress * 100)} %`, true],
    ["Took", (child) => cells.get(child), true], ["Tokens", (child) => child.tokens_used, true], ["Cost", (child) => usd(child.cost), true],
  ], rows);
  const tick = () => {
    for (const [child, cell] of times) if (!child.completed_at) cell.textContent = took(child.started_at, null);
  };
  return { box, tick };
}

/** What a step's runs come to; each number leads to the runs it counts. */
const sums = (id, steps) => table([
  ["Step", (step) => step.step_id], ["Runs", (step) => h("a", { href: all(id, step.step_id) }, step.runs), true],
  ["Of them", (step) => h("span", { class: "states" }, STATES.filter((state) => step.by_status[state])
    .map((state) => h("a", { href: all(id, step.step_id, state) }, `${step.by_status[state]} ${state}`)))],
  ["Tokens", (step) => step.tokens_used, true], ["Cost", (step) => usd(step.cost), true],
], steps);

/** The section of a run's page. `reload()` asks anew, soon; `tick()` is called each second; `changed()` is called when
 * there is something new; `tokens(step)` is what the runs of a step have used, or null where it has none. */
export function within(id, changed) {
  const content = h("div"), told = h("p", { class: "error", role: "alert" });
  const box = h("div", {}, card("Runs within", content, told));
  let found = null, list = null, is = "", asked = 0, waiting = null, gone = false;
  box.hidden = true;
  const show = () => {
    const now = JSON.stringify(found);
    if (now === is) return;
    is = now;
    const held = content.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const count = found.steps.reduce((sum, step) => sum + step.runs, 0);
    list = childTable(found.children);
    content.replaceChildren(sums(id, found.steps), list.box, ...(found.next_cursor ? [h("p", { class: "pages" },
      h("span", { class: "note" }, `The newest ${found.children.length} of ${count}. `), h("a", { class: "button", href: all(id) }, `All ${count}`))] : []));
    if (held) [...content.querySelectorAll("a")].find((link) => link.getAttribute("href") === held)?.focus({ preventScroll: true });
    box.hidden = count === 0;
    changed();
  };
  async function ask() {
    waiting = null;
    asked = Date.now();
    try {
      const newest = await get(`/runs/${encodeURIComponent(id)}/children?limit=${SHOWN}`);
      if (gone) return;
      found = newest;
      told.textContent = "";
      show();
    } catch (error) { told.replaceChildren(...trouble(error)); }
  }
  const reload = () => { waiting ??= setTimeout(ask, Math.max(0, asked + PAUSE - Date.now())); };
  const tick = () => {
    list?.tick();
    if (found?.steps.some((step) => LIVE.some((state) => step.by_status[state])) && Date.now() - asked >= LIVELY) reload();
  };
  const tokens = (step) => found?.steps.find((one) => one.step_id === step)?.tokens_used ?? null;
  return { box, ask, reload, tick, tokens, leave: () => { gone = true; clearTimeout(waiting); } };
}

/** All runs within a run, by step and state, in pages: #/runs?of=<run>. */
export async function children(view, query) {
  const id = query.get("of"), step = query.get("step") ?? "", status = query.get("status") ?? "", cursor = query.get("cursor");
  const asked = new URLSearchParams({ limit: 50, ...(step ? { step_id: step } : {}), ...(status ? { status } : {}), ...(cursor ? { cursor } : {}) });
  const page = await get(`/runs/${encodeURIComponent(id)}/children?${asked}`);
  const kept = { of: id, step };
  view.append(h("h1", {}, step ? `Runs of ${step}` : "Runs within"), h("p", {}, "Within run ", h("a", { href: `#/runs/${id}` }, h("code", {}, id))),
    card("", sums(id, page.steps)),
    card("", filter("runs", STATES, status, kept), page.children.length ? childTable(page.children).box : empty(status ? `None is ${status}.` : "None yet."),
      pages("runs", query, page.next_cursor, kept)));
}
