/** What the package makes of the engine's events: calls of tools and thoughts, whole and in chunks. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { answer, stream } from '../dist/completions.js';

const call = { id: 'call_1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } };
const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
const request = { messages: [{ role: 'user', content: 'Hi' }], tools: [{ type: 'function', function: { name: 'f' } }], tool_choice: 'auto' };

/** An engine that says this. */
const says = (...parts) => async (fields, event) => {
  assert.deepEqual(fields.tool_choice, 'auto');
  for (const part of parts) event(part);
};
const piece = (more) => ({ text: '', token: 1, logprobs: null, ...more });
const calls = says(
  piece({ reasoning_content: 'Hm.' }),
  piece({}),
  piece({ text: 'So:' }),
  piece({ tool_calls: [{ index: 0, ...call }] }),
  { finish_reason: 'tool_calls', usage, timings: {} },
);

test('calls and thoughts are told apart from the text', async () => {
  const { choices } = await answer('chat', 'm', request, calls);
  const message = { role: 'assistant', content: 'So:', reasoning_content: 'Hm.', tool_calls: [call] };
  assert.deepEqual(choices, [{ index: 0, message, logprobs: null, finish_reason: 'tool_calls' }]);
  const end = { finish_reason: 'tool_calls', usage, timings: {} };
  const only = await answer('chat', 'm', request, says(piece({ tool_calls: [{ index: 0, ...call }] }), end));
  assert.deepEqual(only.choices[0].message, { role: 'assistant', content: null, tool_calls: [call] });
  const none = await answer('chat', 'm', request, says(piece({}), { ...end, finish_reason: 'stop' }));
  assert.deepEqual(none.choices[0].message, { role: 'assistant', content: '' });
});

test('and so they are in chunks', async () => {
  const deltas = [];
  for await (const { choices } of await stream('chat', 'm', request, calls)) deltas.push(choices[0].delta);
  assert.deepEqual(deltas, [
    { role: 'assistant', content: '' },
    { reasoning_content: 'Hm.' },
    { content: 'So:' },
    { tool_calls: [{ index: 0, ...call }] },
    {},
  ]);
});
