// The API in Node, beside what the browsers' tests have: options that are refused, files that are kept, what package managers and bundlers say.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createHash } from 'node:crypto';
import { goldenPath } from './browser/golden.mjs';

const model = goldenPath('llama-Q4_0.gguf');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-api-'));
// Models are kept in a folder of this test.
process.env.XDG_CACHE_HOME = folder;
const { Engine, models } = await import('../dist/node.js');

let engine;
before(async () => (engine = await Engine.fromFile(model, { threads: 1 })));
after(async () => {
  await engine.dispose();
  fs.rmSync(folder, { recursive: true });
});

const refused = (field) => (error) => error.code === 'invalid_request' && error.details.field === field;

test('numbers that are none are refused by name, wherever they stand', async () => {
  const cases = [
    ['temperature', { temperature: NaN }],
    ['top_p', { top_p: Infinity }],
    ['seed', { seed: -Infinity }],
    ['logit_bias.7', { logit_bias: { 7: NaN } }],
  ];
  for (const [field, options] of cases) {
    await assert.rejects(engine.completions.create({ prompt: 'the quick', max_tokens: 1, ...options }), refused(field), field);
    await assert.rejects(engine.completions.create({ prompt: 'the quick', max_tokens: 1, stream: true, ...options }), refused(field), field);
  }
  await assert.rejects(engine.completions.create({ prompt: [1, NaN], max_tokens: 1 }), refused('prompt[1]'));
});

test('a folder is answered with a sentence', async () => {
  await assert.rejects(Engine.fromFile(path.dirname(model), { threads: 1 }), ({ code, message }) => code === 'model_not_found' && /is a folder/.test(message));
});

test('maxContext: what the model was trained for, but no more than asked', async () => {
  for (const [maxContext, expected] of [
    [16384, engine.info.trainedContext],
    [64, 64],
  ]) {
    const opened = await Engine.fromFile(model, { threads: 1, maxContext });
    assert.equal(opened.info.context, expected);
    await opened.dispose();
  }
  await assert.rejects(Engine.fromFile(model, { threads: 1, maxContext: 64, context: 64 }), refused('maxContext'));
  await assert.rejects(Engine.fromFile(model, { threads: 1, maxContext: 0.5 }), refused('maxContext'));
});

test('a file is kept: listed, verified, opened by its key, once; a copy that is ended leaves nothing', async () => {
  assert.deepEqual(await models.storage(), { kind: 'files' });
  const seen = [];
  const kept = await models.keep(model, { progress: ({ loaded, total }) => seen.push([loaded, total]) });
  const bytes = fs.statSync(model).size;
  const sha256 = createHash('sha256').update(fs.readFileSync(model)).digest('hex');
  assert.deepEqual([kept.complete, kept.url, kept.files], [true, 'file:llama-Q4_0.gguf', [{ name: 'llama-Q4_0.gguf', bytes, sha256 }]]);
  assert.deepEqual(seen.at(-1), [bytes, bytes]);
  assert.equal((await models.keep(model)).added, kept.added);
  assert.deepEqual((await models.list()).map(({ key }) => key), [kept.key]);
  assert.equal((await models.validate(kept.key)).valid, true);
  const opened = await Engine.fromStore(kept.key, { threads: 1 });
  assert.equal(await opened.digest(), await engine.digest());
  await opened.dispose();
  await models.remove(kept.key);
  const ended = new AbortController();
  const long = path.join(folder, 'long.gguf');
  fs.writeFileSync(long, '');
  fs.truncateSync(long, 256 << 20);
  const copy = models.keep(long, { signal: ended.signal, progress: () => ended.abort() });
  await assert.rejects(copy, { name: 'AbortError' });
  await assert.rejects(models.keep(path.join(folder, 'nothing.gguf')), { code: 'model_not_found' });
  assert.deepEqual(await models.list(), []);
});

test('CommonJS: the package comes, or Node says that import() brings it', () => {
  const require = "const { Engine } = require('picolm'); console.log(typeof Engine.fromFile)";
  const imported = "import('picolm').then(({ Engine }) => console.log(typeof Engine.fromFile))";
  const run = (script) => spawnSync(process.execPath, ['--input-type=commonjs', '--eval', script], { cwd: path.resolve(import.meta.dirname, '..'), encoding: 'utf8' });
  assert.equal(run(imported).stdout.trim(), 'function');
  const { stdout, stderr } = run(require);
  assert.ok(stdout.trim() === 'function' || /import\(\)/.test(stderr), stderr);
});

test('publint finds nothing', async () => {
  const { publint } = await import('publint');
  const { messages } = await publint({ pkgDir: path.resolve(import.meta.dirname, '..'), strict: true });
  assert.deepEqual(messages, []);
});

test('the types are found by every way of resolving (attw)', () => {
  const root = path.resolve(import.meta.dirname, '..');
  const program = path.join(root, 'node_modules/.bin/attw');
  const options = process.env.PICOLM_TARBALL ? [path.resolve(process.env.PICOLM_TARBALL)] : ['--pack', root];
  const { status, stdout } = spawnSync(program, [...options, '--profile', 'esm-only', '--no-emoji', '--format', 'ascii'], { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});
