// The official `openai` package for JavaScript against the server at PICOLM_URL. Run by Node's test runner.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

// Installed in a folder of its own, which NODE_MODULES names.
const { default: OpenAI } = createRequire(`${process.env.NODE_MODULES}/`)('openai');
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
