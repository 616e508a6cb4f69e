// The page of one run: its steps as a live graph, what they found, and calling it off.

import { api, get, listen, rights } from "./api.js";
import { within } from "./children.js";
import { badge, card, facts, h, took, trouble, usd, when } from "./dom.js";
import { graph } from "./graph.js";
import { outcome, problem } from "./results.js";

const ENDED = ["completed", "failed", "cancelled"];
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export async function run(view, _query, id, say) {
  let current = await get(`/runs/${encodeURIComponent(id)}`);
  let waiting = null, chosen = null, gone = false;
  const link = h("p", { class: "link", role: "status" }), told = h("p", { class: "error", role: "alert" });
  const head = header(id, () => reload(), told), results = h("div"), shown = new Map();
  const [drawing, update] = graph(current.steps, (step) => {
    chosen = step;
    show();
    document.getElementById(`step-${step}`)?.scrollIntoView({ behavior: CALM.matches ? "auto" : "smooth" });
  });
  const runs = current.steps.some((step) => step.workflow) ? within(id, () => show()) : null;
  /** Tokens of what its runs used are theirs; of other steps, what their result tells. */
  const used = (step) => (step.workflow ? runs?.tokens(step.step_id) : step.result?.tokens_used) ?? 0;
  function show() {
    const steps = current.steps.map((step) => ({ ...step, tokens_used: used(step) }));
    head.show({ ...current, steps });
    update(steps);
    outcomes(results, shown, current.steps, chosen);
    if (ENDED.includes(current.status)) link.textContent = "";
  }
  async function reload() {
    try {
      const newest = await get(`/runs/${encodeURIComponent(id)}`);
      if (gone) return;
      current = newest;
      told.textContent = "";
      show();
      runs?.reload();
    } catch (error) {
      told.replaceChildren(...trouble(error));
    }
  }
  show();
  view.append(head.box, told, card("Steps", h("div", { class: "scroll" }, drawing), link), runs?.box ?? "", results);
  runs?.ask();
  if (ENDED.includes(current.status)) return () => runs?.leave();
  // Progress is drawn from the event itself; what began or ended is asked for, a moment later, once.
  const onEvent = (event) => {
    const step = current.steps.find((one) => one.step_id === event.step_id);
    if (event.type === "workflow_progress" && step?.status === "running") {
      if (event.step_progress >= step.progress) { // events from before the page was opened come again
        step.progress = event.step_progress;
        step.progress_note = event.note;
      }
      current.progress = Math.max(current.progress, event.progress);
      show();
      return;
    }
    if (/^task_(completed|failed|cancelled|retrying)$/.test(event.type)) say(`${event.step_id}: ${event.type.slice(5)}`);
    if (/^workflow_(completed|failed|cancelled)$/.test(event.type)) say(`run ${event.type.slice(9)}`);
    waiting ??= setTimeout(() => { waiting = null; reload(); }, 120);
  };
  const stop = listen({ run_id: id }, onEvent, (up, why) => { link.textContent = up ? "live" : why ?? "connection lost; trying again…"; });
  const clock = setInterval(() => {
    runs?.tick();
    if (!ENDED.includes(current.status)) return show();
    stop();
    clearInterval(clock);
  }, 1000);
  return () => { gone = true; stop(); clearInterval(clock); clearTimeout(waiting); runs?.leave(); };
}

/** The last steps first: they say what the others were for. A step's section is made again only when the step
 * has changed, so that what a reader opened stays open while the run goes on. */
function outcomes(place, shown, steps, chosen) {
  const wanted = steps.filter((step) => step.result || step.error).reverse();
  for (const step of wanted) {
    const is = JSON.stringify([step.status, step.completed_at, step.error]);
    if (shown.get(step.step_id)?.is !== is) shown.set(step.step_id, { is, box: outcome(step, false) });
    shown.get(step.step_id).box.classList.toggle("chosen", step.step_id === chosen);
  }
  const boxes = wanted.map((step) => shown.get(step.step_id).box);
  if (boxes.length !== place.children.length || boxes.some((box, at) => box !== place.children[at])) place.replaceChildren(...boxes);
}

/** Title, key figures and error. The title, with its button, is made again only when the state changes. */
function header(id, reload, told) {
  const title = h("h1"), figures = h("div"), failure = h("div"), box = h("div", {}, title, figures, failure);
  let state = null;
  const cancel = async () => {
    if (!confirm("Cancel this run? What has not begun will not, what runs is told to stop.")) return;
    try {
      await api("POST", `/runs/${encodeURIComponent(id)}/cancel`, {});
      await reload();
    } catch (error) {
      told.replaceChildren(...trouble(error));
    }
  };
  const show = (one) => {
    const open = !ENDED.includes(one.status);
    const now = `${one.status} ${one.cancel_requested}`;
    if (now !== state) {
      state = now;
      title.replaceChildren(one.workflow_id, " ", badge(one.status), " ", open && one.cancel_requested ? h("small", {}, "is being cancelled")
        : open && rights.has("workflows:run") ? h("button", { class: "quiet", onclick: cancel }, "Cancel") : "");
      failure.replaceChildren(...(one.error ? [problem(one.error)] : []));
    }
    figures.replaceChildren(facts([
      ["Progress", `${Math.round(one.progress * 100)} %`], ["Took", took(one.started_at, one.completed_at)], ["Cost", usd(one.cost)],
      ["Tokens", String(one.steps.reduce((sum, step) => sum + step.tokens_used, 0))],
      ["Begun", when(one.created_at)], ["Owner", one.owner], ["Run", h("code", {}, one.run_id)], ["Request", h("code", {}, one.request_id)],
      ...(one.origin?.how === "step" ? [["Within", h("a", { href: `#/runs/${one.origin.run_id}` }, h("code", {}, one.origin.run_id))]] : []),
    ]));
  };
  return { box, show };
}
