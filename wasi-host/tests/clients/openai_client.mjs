// The official `openai` package for JavaScript against the server at PICOLM_URL. Run by Node's test runner.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

// Installed in a folder of its own, which NODE_MODULES names.
const load = createRequire(`${process.env.NODE_MODULES}/`);
const { default: OpenAI } = load('openai');
const { zodFunction, zodResponseFormat } = load('openai/helpers/zod');
const { z } = load('zod');
const model = process.env.PICOLM_NAME;
const client = new OpenAI({ baseURL: `${process.env.PICOLM_URL}/v1`, apiKey: process.env.PICOLM_KEY ?? 'none', maxRetries: 0 });
const messages = [{ role: 'user', content: 'What is the capital of France?' }];

test('chat, whole and as a stream', async () => {
  const ask = { model, messages, temperature: 0.9, seed: 7, max_tokens: 20 };
  const whole = await client.chat.completions.create(ask);
  let text = '';
  let usage;
  for await (const chunk of await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test('a stream that is aborted', async () => {
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    stream.controller.abort();
  }
});

const City = z.object({ name: z.string().max(12), continent: z.enum(['Africa', 'Asia', 'Europe']) });
const Trip = z.object({ to: City, by: z.enum(['rail', 'sea']).nullable(), back: City.nullable(), days: z.array(z.number().int()).max(2) });

test('zod: parse, whole and as a stream', async () => {
  const ask = { model, messages, temperature: 0, max_tokens: 200, response_format: zodResponseFormat(Trip, 'trip') };
  const whole = await client.chat.completions.parse(ask);
  const { parsed } = whole.choices[0].message;
  assert.deepEqual(Trip.parse(parsed), parsed);
  const final = await client.chat.completions.stream(ask).finalChatCompletion();
  assert.deepEqual(final.choices[0].message.parsed, parsed);
});

for (const stream of [false, true]) {
  test(`runTools${stream ? ', as a stream' : ''}`, async () => {
    const asked = [];
    const look = zodFunction({
      name: 'look',
      description: 'Looks at the sky.',
      parameters: z.object({ hour: z.union([z.literal(6), z.literal(12)]), city: z.string().max(6).nullable() }),
      function: ({ hour }) => {
        asked.push(hour);
        return 'clouds';
      },
    });
    const ask = { model, messages, temperature: 0, max_tokens: 80, parallel_tool_calls: false, tools: [look], stream };
    // One turn, which has to call: the result is the end.
    const named = client.chat.completions.runTools({ ...ask, tool_choice: { type: 'function', function: { name: 'look' } } });
    const result = await named.finalFunctionToolCallResult();
    assert.equal(result, 'clouds');
    assert.equal((await named.finalFunctionToolCall()).name, 'look');
    // Two turns that have to call: the second is told what the tool said in the first.
    const runner = client.chat.completions.runTools({ ...ask, tool_choice: 'required' }, { maxChatCompletions: 2 });
    await runner.done().catch(() => {});
    const roles = runner.messages.map((message) => message.role);
    assert.deepEqual(roles, ['user', 'assistant', 'tool', 'assistant', 'tool']);
    assert.ok(asked.length === 3 && asked.every((hour) => hour === 6 || hour === 12), `${asked}`);
  });
}

test('models and embeddings', async () => {
  const names = [];
  for await (const entry of await client.models.list()) names.push(entry.id);
  assert.ok(names.includes(model));
  const { data } = await client.embeddings.create({ model, input: ['one', 'two'] });
  const plain = await client.embeddings.create({ model, input: ['one', 'two'], encoding_format: 'float' });
  assert.deepEqual(data.map((entry) => [...entry.embedding].map(Math.fround)), plain.data.map((entry) => entry.embedding.map(Math.fround)));
});

test('errors have a status, a field and a reason', async () => {
  const refused = (change) => client.chat.completions.create({ model, messages, ...change });
  await assert.rejects(refused({ top_p: 2 }), { status: 400, param: 'top_p' });
  await assert.rejects(refused({ tools: [{}] }), { status: 400, param: 'tools[0].function' });
  await assert.rejects(refused({ model: 'no-such-model' }), { status: 404, param: 'model' });
});
