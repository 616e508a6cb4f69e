// The gateway's own REST and WebSocket doors; the key stays in this tab.

const STORE = "gateway-key";
const UNAUTHENTICATED = 4401, FORBIDDEN = 4403;
const MONEY = /(^|_)(cost|usd|total_cost)$/;

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.detail ?? `the gateway answered ${status}`);
    this.status = status;
    this.mend = body?.mend ?? "";
    this.requestId = body?.request_id ?? "";
    this.body = body;
  }
}

export const key = {
  get: () => sessionStorage.getItem(STORE) ?? "",
  set: (value) => sessionStorage.setItem(STORE, value),
  clear: () => sessionStorage.removeItem(STORE),
};

/** What the key may do, as the gateway said at signing in: what it may not is not offered. */
export const rights = new Set();

/** JSON whose amounts of money stay the text that was sent: a float would lose digits. */
export function parse(text) {
  return JSON.parse(text, (name, value, context) =>
    typeof value === "number" && MONEY.test(name) ? unfold(context?.source ?? String(value)) : value);
}

/** A number's text without an exponent, digit by digit: 7.5E-7 is 0.00000075. */
function unfold(text) {
  const found = /^(-?)(\d+)\.?(\d*)[eE]([+-]?\d+)$/.exec(text);
  if (!found) return text;
  const [, sign, whole, part, power] = found;
  const point = whole.length + Number(power);
  const figures = (whole + part).padEnd(point, "0");
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${figures}`;
  return sign + figures.slice(0, point) + (figures.length > point ? `.${figures.slice(point)}` : "");
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

/** Events of a run or task, from the first; comes back by itself and misses none. Returns a function that ends it.
 * A refusal is final: `onState(false, why)` says it, and nothing is tried again. */
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
      } else if (event.type === "error") {
        over = true;
        onState(false, event.error?.detail ?? "the gateway refused to tell events");
      } else if (event.id > last) {
        last = event.id;
        onEvent(event);
      }
    };
    socket.onclose = ({ code }) => {
      if (over) return;
      if (code === UNAUTHENTICATED || code === FORBIDDEN) {
        over = true;
        onState(false, "the key is no longer in force: sign in again");
        return;
      }
      onState(false);
      setTimeout(() => over || open(), pause);
      pause = Math.min(pause * 2, 10_000);
    };
  };
  open();
  return () => { over = true; socket?.close(); };
}
