// The official `ollama` package for JavaScript against the server at PICOLM_URL. Run by Node's test runner.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

const load = createRequire(`${process.env.NODE_MODULES}/`);
const { Ollama } = load('ollama');
const { z } = load('zod');
const model = process.env.PICOLM_NAME;
const client = new Ollama({ host: process.env.PICOLM_URL });
const messages = [{ role: 'user', content: 'What is the capital of France?' }];
const options = { temperature: 0, num_predict: 120 };
const City = z.object({ name: z.string().max(12), continent: z.enum(['Africa', 'Asia', 'Europe']) });
const look = { type: 'function', function: { name: 'look', description: 'Looks.', parameters: { type: 'object', properties: { hour: { type: 'integer', enum: [6, 12] } }, required: ['hour'] } } };

test('a schema of zod, whole and as a stream', async () => {
  const ask = { model, messages, options, format: z.toJSONSchema(City) };
  const { message } = await client.chat(ask);
  City.parse(JSON.parse(message.content));
  let text = '';
  for await (const part of await client.chat({ ...ask, stream: true })) text += part.message.content;
  assert.equal(text, message.content);
});

test('tools: calls are of the tool, and results go back', async () => {
  const ask = { model, messages, options, tools: [look], tool_choice: 'required' };
  const { message } = await client.chat(ask);
  assert.ok(message.tool_calls.length > 0);
  for (const call of message.tool_calls) assert.ok([6, 12].includes(call.function.arguments.hour), JSON.stringify(call));
  const calls = [];
  for await (const part of await client.chat({ ...ask, stream: true })) calls.push(...(part.message.tool_calls ?? []));
  assert.deepEqual(calls, message.tool_calls);
  const said = message.tool_calls.map((call) => ({ role: 'tool', content: 'clouds', tool_name: call.function.name }));
  const answer = await client.chat({ model, options, messages: [...messages, message, ...said], format: z.toJSONSchema(City) });
  City.parse(JSON.parse(answer.message.content));
});
