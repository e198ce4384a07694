// Requests one a line, answers one a line: what compares hosts with each other says what the package says.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Engine } from '../dist/node.js';
import { golden, goldenPath, withTemplate } from './browser/golden.mjs';

const model = goldenPath('llama-Q4_0.gguf');

test('texts, tokens, log-probabilities, embeddings, errors', async () => {
  const requests = [
    { prompt: 'the quick', temperature: 0.8, seed: 7, max_tokens: 8 },
    { prompt: 'the quick', temperature: 0.8, seed: 7, max_tokens: 8, logprobs: 2, lookup: 8 },
    { input: 'the quick' },
    { prompt: 'the quick', temperature: -1 },
  ];
  const input = requests.map((request) => `${JSON.stringify(request)}\n`).join('');
  const { stdout, stderr } = spawnSync(process.execPath, [path.join(import.meta.dirname, 'requests.mjs'), model], { input, encoding: 'utf8' });
  const answers = stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(answers.length, requests.length, stderr);
  const engine = await Engine.fromFile(model, { threads: 2 });
  const { choices, usage } = await engine.completions.create(requests[0]);
  const [vector] = await engine.embed(requests[2].input);
  await engine.dispose();
  for (const { text, tokens, finish_reason } of answers.slice(0, 2)) {
    assert.deepEqual([text, finish_reason, tokens.length], [choices[0].text, choices[0].finish_reason, usage.completion_tokens]);
  }
  assert.deepEqual(answers[1].tokens, answers[0].tokens);
  assert.deepEqual(answers[1].logprobs.map(({ id }) => id), answers[1].tokens);
  assert.deepEqual(answers[0].usage, { ...usage, completion_tokens_details: answers[0].usage.completion_tokens_details });
  assert.deepEqual(Float32Array.from(answers[2].embedding), vector);
  assert.deepEqual([answers[3].error.code, answers[3].error.field], ['invalid_request', 'temperature']);
});

test('the table of requests: what all hosts say', async () => {
  const table = path.resolve(import.meta.dirname, '../../core/engine/tests/table');
  const [requests, answers, template] = ['requests.jsonl', 'answers.jsonl', 'template.jinja'].map((name) => fs.readFileSync(path.join(table, name), 'utf8'));
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-table-'));
  const model = path.join(folder, 'table.gguf');
  fs.writeFileSync(model, withTemplate(golden('llama-Q4_0.gguf'), template));
  const { stdout, stderr } = spawnSync(process.execPath, [path.join(import.meta.dirname, 'requests.mjs'), model], { input: requests, encoding: 'utf8' });
  fs.rmSync(folder, { recursive: true });
  // Without what depends on the sessions before: tokens that were there already, drafts.
  const normal = ({ error, usage, ...answer }) =>
    error ? { error: error.field } : { ...answer, usage: [usage.prompt_tokens, usage.completion_tokens ?? 0] };
  const read = (lines) => lines.trim().split('\n').map((line) => normal(JSON.parse(line)));
  const [found, wanted] = [read(stdout), read(answers)];
  assert.equal(found.length, wanted.length, stderr);
  requests.trim().split('\n').forEach((request, i) => assert.deepEqual(found[i], wanted[i], request));
});
