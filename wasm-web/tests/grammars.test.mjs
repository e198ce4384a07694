// Schemas, regular expressions and grammars in Node: what answers are kept to, and the same tokens as natively (PICOLM_BIN).
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { Engine } from '../dist/node.js';
import { golden, goldenPath, withTemplate } from './browser/golden.mjs';
import { FORMS, LARGE, PERSON, REFUSED } from './grammar-requests.mjs';

const dist = path.resolve(import.meta.dirname, '../dist');
const models = ['llama-Q4_0.gguf', 'qwen3-Q8_0.gguf', 'gemma3-Q8_0.gguf'].map(goldenPath);
const binary = process.env.PICOLM_BIN;

let engine;
before(async () => (engine = await Engine.fromFile(models[0], { threads: 1 })));
after(() => engine.dispose());

/** What a program answers to requests, one a line. */
function answers(program, args, requests) {
  const input = requests.map((request) => `${JSON.stringify(request)}\n`).join('');
  const { stdout, stderr } = spawnSync(program, args, { input, encoding: 'utf8', maxBuffer: 1 << 28 });
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(lines.length, requests.length, stderr);
  // What depends on the sessions before is left out; errors are named by their fields.
  return lines.map(({ error, usage, ...answer }) => (error ? { field: error.field ?? error.param } : { ...answer, tokens: answer.tokens, completion: usage.completion_tokens }));
}
const inNode = (model, requests, options = {}) => answers(process.execPath, [path.join(import.meta.dirname, 'requests.mjs'), model, JSON.stringify(options)], requests);

test('every answer has the form that is asked for', async () => {
  for (const [form, has] of FORMS) {
    for (const seed of [0, 1, 2]) {
      const { choices } = await engine.completions.create({ prompt: 'the quick', seed, temperature: 1, max_tokens: 400, ...form });
      assert.equal(choices[0].finish_reason, 'stop', choices[0].text);
      assert.ok(has(choices[0].text), choices[0].text);
    }
  }
});

test('the tokens of the native program: all forms, seeds, vocabularies, drafts, log-probabilities, threads', { skip: !binary && 'PICOLM_BIN is not set' }, () => {
  const requests = [];
  for (const [form] of FORMS) {
    for (let seed = 0; seed < 6; seed++) requests.push({ prompt: 'the quick', seed, temperature: [0.5, 1, 2][seed % 3], max_tokens: 150, ...form });
    requests.push({ prompt: 'the quick', seed: 9, temperature: 1, max_tokens: 150, lookup: 6, ...form });
    requests.push({ prompt: 'the quick', seed: 9, temperature: 1, max_tokens: 150, logprobs: 1, ...form });
  }
  requests.push(...LARGE.map((form) => ({ prompt: 'a', seed: 1, temperature: 1, max_tokens: 40, ...form })));
  requests.push(...REFUSED.map(([form]) => ({ prompt: 'a', ...form })));
  for (const model of models) {
    const wanted = answers(binary, ['request', model], requests);
    assert.ok(wanted.filter(({ tokens }) => tokens?.length > 5).length > FORMS.length * 8);
    for (const threads of [1, 2]) {
      inNode(model, requests, { threads }).forEach((found, i) => assert.deepEqual(found, wanted[i], `${path.basename(model)}: ${JSON.stringify(requests[i]).slice(0, 300)}`));
    }
  }
});

test('calls of tools are enforced, and their tokens are the native program’s', { skip: !binary && 'PICOLM_BIN is not set' }, async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-tools-'));
  const model = path.join(folder, 'chat.gguf');
  const template = fs.readFileSync(path.join(import.meta.dirname, '../../core/engine/tests/table/template.jinja'), 'utf8');
  fs.writeFileSync(model, withTemplate(golden('llama-Q4_0.gguf'), template));
  const parameters = { type: 'object', properties: { legs: { type: 'integer', minimum: 2, maximum: 4 } }, required: ['legs'], additionalProperties: false };
  const tools = [{ type: 'function', function: { name: 'walk', parameters } }];
  const choices = ['required', { type: 'function', function: { name: 'walk' } }, 'auto'];
  const messages = [{ role: 'user', content: 'Hi' }];
  const requests = choices.flatMap((tool_choice) => [1, 2, 3].map((seed) => ({ messages, now: 0, seed, temperature: 1, max_tokens: 300, tools, tool_choice })));
  const [wanted, found] = [answers(binary, ['request', model], requests), inNode(model, requests)];
  found.forEach(({ tokens, finish_reason }, i) => assert.deepEqual([tokens, finish_reason], [wanted[i].tokens, wanted[i].finish_reason]));
  const engine = await Engine.fromFile(model, { threads: 1 });
  try {
    for (const request of requests.slice(0, 6)) {
      const { message, finish_reason } = (await engine.chat.completions.create(request)).choices[0];
      assert.equal(finish_reason, 'tool_calls');
      for (const { function: call } of message.tool_calls) assert.ok(call.name === 'walk' && [2, 3, 4].includes(JSON.parse(call.arguments).legs), call.arguments);
    }
  } finally {
    await engine.dispose();
    fs.rmSync(folder, { recursive: true });
  }
});

test('what cannot be kept to is refused: the field, and where in the schema', async () => {
  for (const [form, field, says] of REFUSED) {
    await assert.rejects(engine.completions.create({ prompt: 'a', max_tokens: 9, ...form }), ({ code, message, details }) => {
      assert.deepEqual([code, details.field], ['invalid_request', field], message);
      assert.ok(message.startsWith(field) && message.includes(says), message);
      return true;
    });
  }
});

test('large ones are kept to, and the next request is answered', async () => {
  for (const form of LARGE) {
    const { usage } = await engine.completions.create({ prompt: 'a', seed: 1, temperature: 1, max_tokens: 20, ...form });
    assert.ok(usage.completion_tokens > 0);
  }
  assert.ok((await engine.completions.create({ prompt: 'a', max_tokens: 4, temperature: 0 })).usage.completion_tokens > 0);
});

test('a type of zod, in a stream', async () => {
  const Pet = z.object({ name: z.string().max(8), legs: z.int().min(0).max(8), kind: z.enum(['cat', 'dog']), mail: z.email().nullable() });
  const response_format = { type: 'json_schema', json_schema: { name: 'pet', schema: z.toJSONSchema(Pet) } };
  for (const seed of [1, 2, 3]) {
    let text = '';
    const chunks = await engine.completions.create({ prompt: 'the quick', seed, temperature: 1, max_tokens: 400, stream: true, response_format });
    for await (const { choices } of chunks) text += choices[0].text;
    assert.ok(Pet.parse(JSON.parse(text)), text);
  }
});

test('requests that end early and others between them', async () => {
  const request = { prompt: 'the quick', seed: 5, temperature: 1, max_tokens: 400, json_schema: PERSON };
  const whole = (await engine.completions.create(request)).choices[0].text;
  for await (const { choices } of await engine.completions.create({ ...request, stream: true })) if (choices[0].text) break;
  await engine.embed('between them');
  const stop = new AbortController();
  const aborted = engine.completions.create({ ...request, cache_prompt: false, promptProgress: () => stop.abort(), signal: stop.signal });
  await aborted.catch(({ name }) => assert.equal(name, 'AbortError'));
  assert.equal((await engine.completions.create(request)).choices[0].text, whole);
});

test('a package without the module: an error of the request that needs it', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-grammar-'));
  fs.cpSync(dist, path.join(folder, 'dist'), { recursive: true });
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
  const module = path.join(folder, 'dist/wasm/grammar.wasm');
  fs.renameSync(module, `${module}.away`);
  const { Engine } = await import(path.join(folder, 'dist/node.js'));
  const engine = await Engine.fromFile(models[0], { threads: 1 });
  const ask = (form) => engine.completions.create({ prompt: 'a', max_tokens: 60, seed: 1, ...form });
  try {
    await assert.rejects(ask({ regex: 'abc' }), ({ code, message }) => code === 'module_unavailable' && /schemas and grammars.*grammar\.wasm/.test(message));
    assert.match((await ask({ response_format: { type: 'json_object' } })).choices[0].text, /^\s*\{/);
    // It is looked for again.
    fs.renameSync(`${module}.away`, module);
    assert.equal((await ask({ regex: 'abc' })).choices[0].text, 'abc');
  } finally {
    await engine.dispose();
    fs.rmSync(folder, { recursive: true });
  }
});

test('the module asks for no time, no randomness, nothing but texts, errors and the tokenizer', () => {
  const module = new WebAssembly.Module(fs.readFileSync(path.join(dist, 'wasm/grammar.wasm')));
  const imports = WebAssembly.Module.imports(module).map(({ name }) => name);
  // Throwing, texts as values, the table of values: what wasm-bindgen itself needs.
  const own = /^(__wbg_encode|__wbg___wbindgen_throw|__wbindgen_init_externref_table|__wbindgen_generic)(_[0-9a-f]{16})?$/;
  assert.ok(imports.length > 0);
  assert.deepEqual(imports.filter((name) => !own.test(name)), []);
  assert.deepEqual(WebAssembly.Module.exports(module).filter(({ name }) => name.startsWith('llg_')), []);
});
