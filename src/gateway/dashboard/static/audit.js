// The audit trail, newest first, and its proof.

import { get } from "./api.js";
import { card, empty, h, pages, table, trouble, when } from "./dom.js";

export async function audit(view, query) {
  const cursor = query.get("cursor");
  const page = await get(`/audit?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  const proof = h("span", { role: "status" });
  const verify = async () => {
    proof.textContent = " walking the chain…";
    try {
      const found = await get("/audit/verify");
      proof.textContent = found.ok ? ` ✓ ${found.records} records, unbroken` : ` ✗ ${found.problems?.[0]?.text ?? "broken"}`;
    } catch (error) { proof.replaceChildren(" ✗ ", ...trouble(error)); }
  };
  view.append(h("h1", {}, "Audit"), card("", h("p", {}, h("button", { onclick: verify }, "Verify the chain"), proof), page.records.length ? table([
    ["No.", (row) => row.seq, true], ["Time", (row) => when(row.at)], ["Who", (row) => row.actor], ["What", (row) => row.action], ["On", (row) => row.resource],
    ["Outcome", (row) => row.outcome], ["Request", (row) => h("code", { title: row.request_id }, row.request_id.slice(0, 14))],
  ], page.records) : empty("Nothing is on record yet: every change, and every refusal, will be."),
  pages("audit", query, page.next_cursor)));
}
