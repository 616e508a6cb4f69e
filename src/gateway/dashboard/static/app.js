// The frame: signing in, the views by address, and the keyboard.

import { ApiError, get, key } from "./api.js";
import { h } from "./dom.js";
import { run, runs } from "./runs.js";
import { audit, keys, model, models, money, overview, tasks } from "./views.js";

const VIEWS = [
  ["", "Overview", "o", overview, "metrics:read"],
  ["runs", "Runs", "r", runs, "workflows:read"],
  ["tasks", "Tasks", "t", tasks, "tasks:read"],
  ["models", "Models", "m", models, "models:read"],
  ["money", "Usage", "u", money, "usage:read"],
  ["keys", "Keys", "k", keys, "keys:read"],
  ["audit", "Audit", "a", audit, "audit:read"],
];
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
  for (const link of place("nav").children) link.toggleAttribute("aria-current", link.dataset.view === name);
  document.title = `${found?.[1] ?? "Not found"} · Gnanam AI Gateway`;
  try {
    if (!found) throw new ApiError(404, { detail: "there is no such view" });
    const draw = id && name === "runs" ? run : id && name === "models" ? model : found[3];
    const left = await draw(view, new URLSearchParams(query), decodeURIComponent(id ?? ""), say);
    if (mine !== turn) return left?.();
    leave = left;
  } catch (error) {
    if (mine !== turn) return;
    if (error.status === 401) return signOut("The key is no longer in force.");
    view.replaceChildren(h("h1", {}, found?.[1] ?? "Not found"), h("p", { class: "error", role: "alert" }, error.message, error.mend ? ` → ${error.mend}` : ""), error.requestId ? h("p", { class: "note" }, "Request ", h("code", {}, error.requestId)) : "");
    if (!(error instanceof ApiError)) throw error;
  }
  place("main").replaceChildren(view);
}

function signIn(problem = "") {
  place("top").hidden = true;
  const field = h("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const told = h("p", { class: "error", role: "alert" }, problem);
  const enter = async (event) => {
    event.preventDefault();
    key.set(field.value.trim());
    told.textContent = await begin();
  };
  place("main").replaceChildren(h("form", { class: "card sign-in", onsubmit: enter },
    h("h1", {}, "Gnanam AI Gateway"), h("label", { for: "key" }, "API key or token"), field, told, h("button", {}, "Sign in"),
    h("p", { class: "note" }, "It stays in this tab. In development the key is printed when the gateway starts; otherwise an operator makes one with ", h("code", {}, "ai-gateway keys create"), ".")));
  field.focus();
}

function signOut(problem) {
  key.clear();
  me = null;
  leave?.();
  leave = null;
  signIn(problem);
}

/** Takes the key into use. Returns what is wrong with it, or nothing. */
async function begin() {
  try {
    me = await get("/me");
  } catch (error) {
    if (error.status === 401) key.clear();
    return error.status === 401 ? "This key is not known here, or no longer in force." : `${error.message} ${error.mend}`;
  }
  const allowed = VIEWS.filter(([, , , , permission]) => me.permissions.includes(permission));
  place("nav").replaceChildren(...allowed.map(([name, title, letter]) => h("a", { href: `#/${name}`, "data-view": name, title: `g ${letter}` }, title)));
  place("who").replaceChildren(h("span", {}, `${me.principal} · ${me.role}`), h("button", { class: "quiet", onclick: () => signOut() }, "Sign out"), h("button", { class: "quiet", "aria-label": "Keyboard shortcuts", onclick: help }, "?"));
  place("top").hidden = false;
  await show();
  return "";
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
addEventListener("hashchange", show);

const problem = key.get() ? await begin() : "";
if (!me) signIn(problem);
