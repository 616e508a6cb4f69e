// Vercel's AI SDK: its OpenAI provider by /v1/responses (its default) and /v1/chat/completions, and its
// Anthropic provider by /v1/messages, each with every model.
import assert from "node:assert/strict";
import { test } from "node:test";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, Output, generateText, isStepCount, streamText, tool } from "ai";

import * as kit from "./kit.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
/** What the SDK sent last, as it wrote it. */
let sent = "";
const noting = (url, init) => {
  sent = init.body;
  return fetch(url, init);
};
const openai = createOpenAI({ baseURL: `${kit.url}/v1`, apiKey: kit.key, fetch: noting });
const anthropic = createAnthropic({ baseURL: `${kit.url}/v1`, apiKey: kit.key });
const DOORS = [
  { door: "responses", of: (model) => openai(model) },
  { door: "chat completions", of: (model) => openai.chat(model) },
  { door: "messages", of: (model) => anthropic(model) },
];
const weather = tool({ description: "The weather", inputSchema: kit.City, execute: async (given) => kit.weatherIn(given) });
const asked = (model) => ({ model, prompt: kit.QUESTION, maxRetries: 0 });
/** Streams a text to its end; an error in the stream is thrown. */
async function streamed(options) {
  const result = streamText({ ...options, onError: () => {} });
  const pieces = [];
  for await (const part of result.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") pieces.push(part.text);
  }
  return { result, pieces };
}

for (const { door, of } of DOORS) {
  for (const { model, name } of kit.BACKENDS) {
    test(`${door}, ${model}: chat and stream`, async () => {
      const found = await generateText({ ...asked(of(model)), system: "Be short.", maxOutputTokens: 50 });
      assert.deepEqual([found.text, found.finishReason], [kit.heard(name), "stop"]);
      assert.deepEqual([found.usage.inputTokens, found.usage.outputTokens], [30, 12]);
      const { result, pieces } = await streamed(asked(of(model)));
      assert.equal(pieces.join(""), kit.heard(name));
      assert.ok(pieces.length > 2);
      assert.equal((await result.usage).outputTokens, 12);
    });

    test(`${door}, ${model}: a conversation goes on from the SDK's own messages`, async () => {
      // By /v1/responses the SDK points at the items that are kept, unless it is told that none are.
      for (const store of [undefined, false]) {
        const options = { ...asked(of(model)), prompt: undefined, providerOptions: { openai: { store } } };
        const messages = [{ role: "user", content: "First." }];
        messages.push(...(await generateText({ ...options, messages })).response.messages);
        messages.push({ role: "user", content: kit.QUESTION });
        assert.equal((await generateText({ ...options, messages })).text, kit.heard(name));
        // Of a model that it knows to reason, it points at items only where reasoning came before them.
        const points = door === "responses" && store === undefined && model !== "gpt-5";
        assert.equal(sent.includes('"item_reference"'), points);
      }
    });

    test(`${door}, ${model}: a conversation goes on from streams with tools`, async () => {
      const options = {
        ...asked(of(model)), prompt: undefined, tools: { weather }, stopWhen: isStepCount(3),
      };
      const messages = [{ role: "user", content: "The weather in two cities?" }];
      const { result } = await streamed({ ...options, messages });
      messages.push(...(await result.response).messages, { role: "user", content: kit.QUESTION });
      assert.ok((await streamed({ ...options, messages })).pieces.length > 0);
    });

    test(`${door}, ${model}: tools`, async () => {
      const options = {
        ...asked(of(model)), prompt: "The weather in two cities?", tools: { weather }, stopWhen: isStepCount(3),
      };
      const answer = kit.told(name, "21 degrees in Paris", "21 degrees in Rome");
      const found = await generateText(options);
      assert.equal(found.text, answer);
      assert.deepEqual(found.steps[0].toolCalls.map((call) => call.input.city), ["Paris", "Rome"]);
      const { result } = await streamed(options);
      assert.equal(await result.text, answer);
      assert.equal((await result.steps).length, 2);
      const forced = await generateText({
        ...options, stopWhen: isStepCount(1), toolChoice: { type: "tool", toolName: "weather" },
      });
      assert.equal(forced.toolCalls[0].toolName, "weather");
    });

    test(`${door}, ${model}: structured output`, async () => {
      const options = { ...asked(of(model)), output: Output.object({ schema: kit.Weather }) };
      assert.deepEqual((await generateText(options)).output, kit.WEATHER);
      const { result } = await streamed(options);
      assert.deepEqual(await result.output, kit.WEATHER);
    });
  }

  test(`${door}: the embedded model`, { skip: !kit.EMBEDDED }, async () => {
    const options = { ...asked(of(kit.EMBEDDED)), maxOutputTokens: 16 };
    assert.ok((await generateText(options)).text.trim());
    assert.ok((await streamed(options)).pieces.join("").trim());
  });

  test(`${door}: an error is the SDK's own`, async () => {
    await assert.rejects(generateText(asked(of("none"))), (error) => APICallError.isInstance(error) && error.statusCode === 404);
  });
}
