// Keys: the list, making one, revoking one. A key's secret is shown once and kept nowhere.

import { api, get, rights } from "./api.js";
import { card, empty, h, pages, table, trouble, when } from "./dom.js";

const ROLES = ["viewer", "developer", "analyst", "operator", "admin"];

export async function keys(view, query) {
  const may = rights.has("keys:write");
  const cursor = query.get("cursor");
  const list = h("div"), told = h("p", { class: "error", role: "alert" });
  const draw = async () => {
    const page = await get(`/keys?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    list.replaceChildren(page.keys.length ? table([
      ["Name", (row) => row.name], ["Role", (row) => row.role], ["Principal", (row) => row.principal], ["Ends in", (row) => h("code", {}, row.hint)],
      ["Models", (row) => row.models.join(", ")], ["Made", (row) => when(row.created_at)], ["Expires", (row) => when(row.expires_at)],
      ["", (row) => (row.revoked_at ? ["revoked ", when(row.revoked_at)] : may ? h("button", { class: "quiet", "aria-label": `Revoke ${row.name}`, onclick: () => revoke(row) }, "Revoke") : "")],
    ], page.keys) : empty("No key."), pages("keys", query, page.next_cursor));
  };
  const attempt = async (act) => {
    told.textContent = "";
    try { await act(); } catch (error) { told.replaceChildren(...trouble(error)); }
  };
  const revoke = (row) => attempt(async () => {
    if (!confirm(`Revoke the key “${row.name}”? Whoever uses it is shut out within seconds.`)) return;
    await api("DELETE", `/keys/${encodeURIComponent(row.id)}`);
    await draw();
  });
  await draw();
  view.append(h("h1", {}, "Keys"), card("", list, told), may ? maker(draw) : h("p", { class: "note" }, "Your key may list keys, not make or revoke them: that needs keys:write."));
}

function maker(draw) {
  const told = h("p", { class: "error", role: "alert" }), shown = h("div", { role: "status" });
  const name = h("input", { id: "key-name", required: true, maxlength: 100 }), role = h("select", { id: "key-role" }, ROLES.map((one) => h("option", {}, one)));
  const make = async (event) => {
    event.preventDefault();
    told.textContent = "";
    shown.replaceChildren();
    try {
      const made = await api("POST", "/keys", { name: name.value, role: role.value });
      shown.replaceChildren(h("p", { class: "secret" }, `The key “${made.name}”. Copy it now, it is shown this once: `, h("code", {}, made.key)));
      name.value = "";
      await draw();
    } catch (error) { told.replaceChildren(...trouble(error)); }
  };
  return card("Make a key", h("form", { onsubmit: make }, h("label", { for: "key-name" }, "Name"), name, h("label", { for: "key-role" }, "Role"), role, told, h("button", {}, "Make"), shown));
}
