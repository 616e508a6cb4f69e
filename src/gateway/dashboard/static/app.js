// The frame: signing in, the views by address, and the keyboard.

import { ApiError, get, key, rights } from "./api.js";
import { audit } from "./audit.js";
import { alarm, h, trouble } from "./dom.js";
import { keys } from "./keys.js";
import { model, models } from "./models.js";
import { money } from "./money.js";
import { overview } from "./overview.js";
import { prompt, prompts } from "./prompts.js";
import { run } from "./run.js";
import { runs } from "./runs.js";
import { savings } from "./savings.js";
import { task, tasks } from "./tasks.js";

const VIEWS = [
  ["", "Overview", "o", overview, "metrics:read"],
  ["runs", "Runs", "r", runs, "workflows:read"],
  ["tasks", "Tasks", "t", tasks, "tasks:read"],
  ["models", "Models", "m", models, "models:read"],
  ["prompts", "Prompts", "p", prompts, "prompts:read"],
  ["money", "Usage", "u", money, "usage:read"],
  ["savings", "Savings", "s", savings, "usage:read"],
  ["keys", "Keys", "k", keys, "keys:read"],
  ["audit", "Audit", "a", audit, "audit:read"],
];
/** The views of one thing: #/runs/<id>, … */
const ONE = { runs: run, tasks: task, models: model, prompts: prompt };
const place = (id) => document.getElementById(id);
const say = (text) => { place("live").textContent = text; };
let me = null;
let leave = null;
let turn = 0;

/** Shows what the address names. A view that was left behind while it loaded is dropped. */
async function show() {
  const mine = ++turn;
  leave?.();
  leave = null;
  if (!me) return signIn();
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  const found = VIEWS.find(([one]) => one === name);
  const view = h("div");
  for (const link of place("nav").children) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${found?.[1] ?? "Not found"} · Gnanam AI Gateway`;
  try {
    if (!found) throw new ApiError(404, { detail: "there is no such view" });
    const draw = (id && ONE[name]) || found[3];
    const left = await draw(view, new URLSearchParams(query), decodeURIComponent(id ?? ""), say);
    if (mine !== turn) return left?.();
    leave = left;
  } catch (error) {
    if (mine !== turn) return;
    if (error.status === 401) return signOut("The key is no longer in force.");
    view.replaceChildren(h("h1", {}, found?.[1] ?? "Not found"), error.status === 403 ? h("p", {}, `Your key (role ${me.role}) may not see this.`) : "", alarm(error));
    if (!(error instanceof ApiError)) console.error(error); // a fault of this page, not of the gateway
  }
  place("main").replaceChildren(view);
}

function signIn(problem = "") {
  place("top").hidden = true;
  const field = h("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const told = h("p", { class: "error", role: "alert" }, typeof problem === "string" ? problem : trouble(problem));
  const enter = async (event) => {
    event.preventDefault();
    const given = field.value.trim();
    if (!/^[\x21-\x7e]+$/.test(given)) { // no header could carry it
      told.textContent = "This is no key: a key has neither spaces nor letters with accents.";
      return;
    }
    key.set(given);
    const wrong = await begin();
    told.replaceChildren(...(wrong ? trouble(wrong) : []));
  };
  place("main").replaceChildren(h("form", { class: "card sign-in", onsubmit: enter },
    h("h1", {}, "Gnanam AI Gateway"), h("label", { for: "key" }, "API key or token"), field, told, h("button", {}, "Sign in"),
    h("p", { class: "note" }, "It stays in this tab. In development the key is printed when the gateway starts; otherwise an operator makes one with ", h("code", {}, "ai-gateway keys create"), ".")));
  field.focus();
}

function signOut(problem) {
  turn += 1; // what still loads is not shown
  key.clear();
  me = null;
  rights.clear();
  leave?.();
  leave = null;
  signIn(problem);
}

/** Takes the key into use. Returns the error that says what is wrong with it, or nothing. */
async function begin() {
  try {
    me = await get("/me");
  } catch (error) {
    if (error.status === 401) {
      key.clear();
      error.message = "This key is not known here, or no longer in force.";
      error.mend = "";
    }
    return error;
  }
  rights.clear();
  for (const permission of me.permissions) rights.add(permission);
  const allowed = VIEWS.filter(([, , , , permission]) => me.permissions.includes(permission));
  place("nav").replaceChildren(...allowed.map(([name, title, letter]) => h("a", { href: `#/${name}`, "data-view": name, title: `g ${letter}` }, title)));
  place("who").replaceChildren(h("span", {}, `${me.principal} · ${me.role}`), h("button", { class: "quiet", onclick: () => signOut() }, "Sign out"), h("button", { class: "quiet", "aria-label": "Keyboard shortcuts", onclick: help }, "?"));
  place("top").hidden = false;
  await show();
  return null;
}

function help() {
  const dialog = place("dialog");
  dialog.replaceChildren(h("h2", {}, "Keyboard"), h("dl", { class: "keys" }, VIEWS.map(([, title, letter]) => [h("dt", {}, h("kbd", {}, "g"), " ", h("kbd", {}, letter)), h("dd", {}, title)]), h("dt", {}, h("kbd", {}, "?")), h("dd", {}, "this help"), h("dt", {}, h("kbd", {}, "Esc")), h("dd", {}, "close it")), h("button", { onclick: () => dialog.close() }, "Close"));
  dialog.showModal();
}

let going = false;
addEventListener("keydown", (event) => {
  if (!me || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  if (event.key === "?") { help(); return; }
  if (going) {
    going = false;
    const found = VIEWS.find(([, , letter]) => letter === event.key);
    if (found) location.hash = `#/${found[0]}`;
  } else if (event.key === "g") {
    going = true;
    setTimeout(() => { going = false; }, 1200);
  }
});
addEventListener("hashchange", async () => {
  await show();
  if (!me) return;
  scrollTo(0, 0);
  place("main").focus({ preventScroll: true }); // whoever reads by ear or keyboard starts at the new view
});
// An ordinary jump to #main would be an address of no view.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  place("main").focus();
});

const problem = key.get() ? await begin() : null;
if (!me) signIn(problem ?? "");
