// OpenAI's own SDK: chat completions and responses, each model behind the same door.
import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";
import { zodResponseFormat, zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";

import * as kit from "./kit.mjs";

const client = new OpenAI({ baseURL: `${kit.url}/v1`, apiKey: kit.key, maxRetries: 0 });
const messages = [{ role: "user", content: kit.QUESTION }];
const tool = {
  type: "function",
  function: { name: "weather", description: "The weather", parameters: kit.CITY_SCHEMA },
};

for (const { model, name } of kit.BACKENDS) {
  test(`${model}: chat`, async () => {
    const found = await client.chat.completions.create({ model, messages, max_tokens: 50, temperature: 0.3 });
    assert.equal(found.choices[0].message.content, kit.heard(name));
    assert.equal(found.choices[0].finish_reason, "stop");
    assert.equal(found.model, model);
    assert.deepEqual([found.usage.prompt_tokens, found.usage.completion_tokens], [30, 12]);
  });

  test(`${model}: stream`, async () => {
    const stream = await client.chat.completions.create({
      model, messages, stream: true, stream_options: { include_usage: true },
    });
    let text = "", finish = "", usage;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    assert.deepEqual([text, finish, usage.total_tokens], [kit.heard(name), "stop", 42]);
  });

  test(`${model}: a tool is called, run and told, whole and streamed`, async () => {
    for (const stream of [false, true]) {
      const runner = client.chat.completions.runTools({
        model,
        stream,
        messages: [{ role: "user", content: "The weather in two cities?" }],
        tools: [{
          type: "function",
          function: { ...tool.function, function: kit.weatherIn, parse: JSON.parse },
        }],
      });
      assert.equal(await runner.finalContent(), kit.told(name, "21 degrees in Paris", "21 degrees in Rome"));
      const calls = runner.messages.flatMap((turn) => turn.tool_calls ?? []);
      assert.deepEqual(calls.map((call) => JSON.parse(call.function.arguments).city), ["Paris", "Rome"]);
      assert.equal(new Set(calls.map((call) => call.id)).size, 2);
    }
  });

  test(`${model}: a tool is forced, or forbidden`, async () => {
    const forced = await client.chat.completions.create({
      model, messages, tools: [tool], tool_choice: { type: "function", function: { name: "weather" } },
    });
    assert.equal(forced.choices[0].message.tool_calls[0].function.name, "weather");
    const forbidden = await client.chat.completions.create({ model, messages, tools: [tool], tool_choice: "none" });
    assert.equal(forbidden.choices[0].message.content, kit.heard(name));
    const one = await client.chat.completions.create({
      model, messages: [{ role: "user", content: "two cities" }], tools: [tool], parallel_tool_calls: false,
    });
    assert.equal(one.choices[0].message.tool_calls.length, 1);
    assert.equal(one.choices[0].finish_reason, "tool_calls");
  });

  test(`${model}: structured output, whole and streamed`, async () => {
    const asked = { model, messages, response_format: zodResponseFormat(kit.Weather, "weather") };
    const found = await client.chat.completions.parse(asked);
    assert.deepEqual(found.choices[0].message.parsed, kit.WEATHER);
    const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
    assert.deepEqual(streamed.choices[0].message.parsed, kit.WEATHER);
  });

  test(`${model}: responses`, async () => {
    const found = await client.responses.create({ model, input: kit.QUESTION, instructions: "Be short.", store: false });
    assert.equal(found.output_text, kit.heard(name));
    assert.equal(found.status, "completed");
    assert.equal(found.usage.total_tokens, 42);
    const final = await client.responses.stream({ model, input: kit.QUESTION }).finalResponse();
    assert.equal(final.output_text, kit.heard(name));
  });

  test(`${model}: responses with a tool and its result, streamed`, async () => {
    const tools = [zodResponsesFunction({ name: "weather", parameters: kit.City })];
    const input = [{ role: "user", content: "The weather in two cities?" }];
    const first = await client.responses.stream({ model, input, tools }).finalResponse();
    const calls = first.output.filter((item) => item.type === "function_call");
    assert.deepEqual(calls.map((call) => call.parsed_arguments.city), ["Paris", "Rome"]);
    input.push(...first.output);
    for (const call of calls) {
      input.push({ type: "function_call_output", call_id: call.call_id, output: kit.weatherIn(call.parsed_arguments) });
    }
    const second = await client.responses.create({ model, input, tools });
    assert.equal(second.output_text, kit.told(name, "21 degrees in Paris", "21 degrees in Rome"));
  });

  test(`${model}: responses with structured output`, async () => {
    const asked = { model, input: kit.QUESTION, text: { format: zodTextFormat(kit.Weather, "weather") } };
    assert.deepEqual((await client.responses.parse(asked)).output_parsed, kit.WEATHER);
    assert.deepEqual((await client.responses.stream(asked).finalResponse()).output_parsed, kit.WEATHER);
  });
}

test("embedded model: chat and stream", { skip: !kit.EMBEDDED }, async () => {
  const asked = { model: kit.EMBEDDED, messages, max_tokens: 8 };
  const found = await client.chat.completions.create(asked);
  assert.ok(found.choices[0].message.content.trim());
  const streamed = await client.chat.completions.stream(asked).finalContent();
  assert.ok(streamed.trim());
});

test("models are listed, errors are the SDK's own", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(kit.BACKENDS.every(({ model }) => names.includes(model)));
  await assert.rejects(client.chat.completions.create({ model: "gpt-none", messages }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model: "gpt-4o", messages: [] }), OpenAI.BadRequestError);
  const stranger = new OpenAI({ baseURL: `${kit.url}/v1`, apiKey: "gw-nobody", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});
