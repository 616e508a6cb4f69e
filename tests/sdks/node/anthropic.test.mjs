// Anthropic's own SDK: messages, each model behind the same door.
import assert from "node:assert/strict";
import { test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";

import * as kit from "./kit.mjs";

const client = new Anthropic({ baseURL: kit.url, apiKey: kit.key, maxRetries: 0 });
const messages = [{ role: "user", content: kit.QUESTION }];
const tools = [{ name: "weather", description: "The weather", input_schema: kit.CITY_SCHEMA }];
const textOf = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");

for (const { model, name } of kit.BACKENDS) {
  test(`${model}: chat`, async () => {
    const found = await client.messages.create({ model, max_tokens: 50, system: "Be short.", messages });
    assert.equal(textOf(found), kit.heard(name));
    assert.equal(found.stop_reason, "end_turn");
    assert.equal(found.model, model);
    const { input_tokens: fresh, cache_read_input_tokens: read, cache_creation_input_tokens: written } = found.usage;
    assert.deepEqual([fresh + read + written, read, found.usage.output_tokens], [30, 8, 12]);
  });

  test(`${model}: stream`, async () => {
    const stream = client.messages.stream({ model, max_tokens: 50, messages });
    let text = "";
    stream.on("text", (piece) => { text += piece; });
    const final = await stream.finalMessage();
    assert.deepEqual([text, textOf(final), final.stop_reason], [kit.heard(name), kit.heard(name), "end_turn"]);
    assert.equal(final.usage.output_tokens, 12);
  });

  test(`${model}: tools are used and told, streamed`, async () => {
    const turns = [{ role: "user", content: "The weather in two cities?" }];
    const used = await client.messages.stream({ model, max_tokens: 50, messages: turns, tools }).finalMessage();
    assert.equal(used.stop_reason, "tool_use");
    const uses = used.content.filter((block) => block.type === "tool_use");
    assert.deepEqual(uses.map((use) => use.input), [{ city: "Paris" }, { city: "Rome" }]);
    turns.push({ role: "assistant", content: used.content });
    turns.push({
      role: "user",
      content: uses.map((use) => ({ type: "tool_result", tool_use_id: use.id, content: kit.weatherIn(use.input) })),
    });
    const final = await client.messages.create({ model, max_tokens: 50, messages: turns, tools });
    assert.equal(textOf(final), kit.told(name, "21 degrees in Paris", "21 degrees in Rome"));
  });

  test(`${model}: the SDK runs the tools itself`, async () => {
    const weather = betaZodTool({
      name: "weather", description: "The weather", inputSchema: kit.City, run: async (given) => kit.weatherIn(given),
    });
    for (const stream of [false, true]) {
      const final = await client.beta.messages
        .toolRunner({ model, max_tokens: 50, messages, tools: [weather], stream })
        .runUntilDone();
      assert.equal(textOf(final), kit.told(name, "21 degrees in Paris"));
    }
  });

  test(`${model}: a tool is forced, or only one at a time`, async () => {
    const turns = [{ role: "user", content: "two cities" }];
    for (const tool_choice of [
      { type: "tool", name: "weather" }, { type: "any", disable_parallel_tool_use: true },
    ]) {
      const found = await client.messages.create({ model, max_tokens: 50, messages: turns, tools, tool_choice });
      assert.deepEqual(found.content.map((block) => block.input), [{ city: "Paris" }]);
    }
  });

  test(`${model}: structured output, whole and streamed`, async () => {
    const asked = { model, max_tokens: 50, messages, output_config: { format: zodOutputFormat(kit.Weather) } };
    assert.deepEqual((await client.messages.parse(asked)).parsed_output, kit.WEATHER);
    assert.deepEqual((await client.messages.stream(asked).finalMessage()).parsed_output, kit.WEATHER);
    assert.deepEqual((await client.beta.messages.parse(asked)).parsed_output, kit.WEATHER);
  });
}

test("embedded model: chat and stream", { skip: !kit.EMBEDDED }, async () => {
  const asked = { model: kit.EMBEDDED, max_tokens: 8, messages };
  assert.ok(textOf(await client.messages.create(asked)).trim());
  assert.ok((await client.messages.stream(asked).finalText()).trim());
});

test("tokens are counted, errors are the SDK's own", async () => {
  const counted = await client.messages.countTokens({ model: "gpt-4o", messages });
  assert.ok(counted.input_tokens > 0);
  await assert.rejects(client.messages.create({ model: "none", max_tokens: 5, messages }), Anthropic.NotFoundError);
  await assert.rejects(
    client.messages.create({ model: "gpt-4o", max_tokens: 5, messages: [] }), Anthropic.BadRequestError,
  );
  const stranger = new Anthropic({ baseURL: kit.url, apiKey: "gw-nobody", maxRetries: 0 });
  await assert.rejects(stranger.messages.create({ model: "gpt-4o", max_tokens: 5, messages }), Anthropic.AuthenticationError);
});
