// What the tests of every Node SDK share: where the gateway is, and the models behind it.
import { z } from "zod";

export const url = process.env.SDK_GATEWAY_URL;
export const key = process.env.SDK_GATEWAY_KEY;
/** Models of each provider, and what their sentences call it. SDKs write to gpt-5 otherwise than to gpt-4o. */
export const BACKENDS = [
  { model: "gpt-4o", name: "OpenAI-style" },
  { model: "gpt-5", name: "OpenAI-style" },
  { model: "claude-sonnet-5", name: "Anthropic-style" },
];
export const EMBEDDED = process.env.SDK_EMBEDDED === "1" ? "smollm2" : "";
export const QUESTION = "How are you?";
export const heard = (name, question = QUESTION) => `The ${name} provider heard: ${question}`;
export const told = (name, ...results) => `The ${name} provider was told: ${results.join("; ")}.`;

/** The schema of structured answers, and the one answer that the provider makes of it. */
export const Weather = z.object({
  city: z.string(),
  celsius: z.number(),
  days: z.array(z.object({ day: z.string(), rain: z.boolean() })),
});
export const WEATHER = { city: "Paris", celsius: 21.5, days: [{ day: "Paris", rain: true }] };

/** The arguments of the tool, and what it gives. */
export const City = z.object({ city: z.string() });
export const CITY_SCHEMA = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const weatherIn = ({ city }) => `21 degrees in ${city}`;
