// The gateway's own REST and WebSocket doors; the key stays in this tab.

const STORE = "gateway-key";
const MONEY = /(^|_)(cost|usd|total_cost)$/;

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.detail ?? `the gateway answered ${status}`);
    this.status = status;
    this.mend = body?.mend ?? "";
    this.requestId = body?.request_id ?? "";
  }
}

export const key = {
  get: () => sessionStorage.getItem(STORE) ?? "",
  set: (value) => sessionStorage.setItem(STORE, value),
  clear: () => sessionStorage.removeItem(STORE),
};

/** JSON whose amounts of money stay the text that was sent: a float would lose digits. */
function parse(text) {
  return JSON.parse(text, (name, value, context) =>
    typeof value === "number" && MONEY.test(name) ? (context?.source ?? String(value)) : value);
}

/** Asks the gateway; throws ApiError with its own words. */
export async function api(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: { authorization: `Bearer ${key.get()}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, { detail: "the gateway does not answer", mend: "is it still running? It is asked again when you reload." });
  }
  const text = await answer.text();
  const json = (answer.headers.get("content-type") ?? "").includes("json") && text ? parse(text) : null;
  if (!answer.ok) throw new ApiError(answer.status, json);
  return json;
}

export const get = (path) => api("GET", path);

/** Events of a run, from `after` on; comes back by itself and misses none. Returns a function that ends it. */
export function listen(subscription, onEvent, onState) {
  let last = subscription.last_event_id ?? 0;
  let socket = null;
  let over = false;
  let pause = 500;
  const open = () => {
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token: key.get() }));
    socket.onmessage = (message) => {
      const event = JSON.parse(message.data);
      if (event.type === "authenticated") {
        socket.send(JSON.stringify({ ...subscription, type: "subscribe", last_event_id: last }));
        pause = 500;
        onState(true);
      } else if (event.id > last) {
        last = event.id;
        onEvent(event);
      }
    };
    socket.onclose = () => {
      if (over) return;
      onState(false);
      setTimeout(() => over || open(), pause);
      pause = Math.min(pause * 2, 10_000);
    };
  };
  open();
  return () => { over = true; socket?.close(); };
}
