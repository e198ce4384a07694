// The same store in Firefox, as far as it differs: no shared reading handles, no files in private windows, another file system.
import { after, afterEach, before, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { firefoxPath, startFirefox } from './firefox.mjs';
import { noise, sha256, startServer } from './server.mjs';

const MiB = 1 << 20;
const SIZE = 18 * MiB + 4321;
const data = noise(SIZE);
const skip = fs.existsSync(firefoxPath) ? false : `there is no ${firefoxPath}`;

let server;
let profile;
let firefox;
before(async () => (server = await startServer()));
after(() => server.close());
beforeEach(() => (profile = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-firefox-'))));
afterEach(async () => {
  server.files.clear();
  await firefox?.quit();
  firefox = undefined;
  fs.rmSync(profile, { recursive: true, force: true });
});

const url = () => `${server.origin}/model.gguf`;
const call = (method, ...args) => firefox.evaluate('(method, args) => globalThis.call(method, ...args)', method, args);
const progress = () => firefox.evaluate('() => globalThis.progress');

async function open(preferences) {
  firefox ??= await startFirefox(profile, preferences);
  await firefox.goto(`${server.origin}/isolated/page.html`);
  return call('init', {});
}

/** Starts a download without waiting for it, and waits until so many bytes are loaded. */
async function startUntil(options, loaded) {
  await firefox.evaluate('(options) => void (window.running = globalThis.call("download", options))', options);
  await firefox.evaluate(
    `async (loaded) => {
      while (!globalThis.progress.some((p) => p.loaded > loaded)) await new Promise((resolve) => setTimeout(resolve, 20));
    }`,
    loaded,
  );
}

test('Firefox: a download, kept for the next visit, and across origins without a preflight', { skip }, async () => {
  const file = server.add('/model.gguf', { data });
  const opened = await open();
  assert.deepEqual([opened.kind, opened.isolated], ['opfs', true]);
  const model = await call('download', { url: url(), sha256: sha256(data) });
  assert.deepEqual(await call('open', model.key), [sha256(data)]);
  await open();
  assert.deepEqual(await call('list'), [model]);
  assert.equal((await call('validate', model.key)).valid, true);
  assert.equal(file.sent, SIZE + 1);

  const other = server.add('/other.gguf', { data, hidden: true });
  assert.ok((await call('download', { url: `${server.other}/other.gguf`, sha256: sha256(data) })).complete);
  assert.deepEqual(
    other.requests.filter(({ method }) => method === 'OPTIONS'),
    [],
  );
  assert.equal(other.sent, SIZE + 1, 'in ranges');
});

test('Firefox: kill -9 in mid-download, at most 4 MiB per connection come twice', { skip }, async () => {
  const big = noise(40 * MiB, 8);
  const file = server.add('/model.gguf', { data: big, rate: 10 * MiB });
  await open();
  await startUntil({ url: url(), connections: 2 }, 24e6);
  await firefox.kill();
  firefox = undefined;
  file.rate = undefined;
  await open();
  const [{ bytesOnDisk, complete }] = await call('list');
  assert.equal(complete, false);
  assert.ok(bytesOnDisk > 8 * MiB, `${bytesOnDisk} bytes survived`);
  const { key } = await call('download', { url: url(), sha256: sha256(big), connections: 2 });
  assert.deepEqual(await call('open', key), [sha256(big)]);
  const twice = file.sent - big.length - 2;
  console.log(`sent twice after a kill with 2 connections: ${(twice / MiB).toFixed(2)} MiB`);
  assert.ok(twice <= 2 * 4 * MiB, `${twice} bytes were sent twice`);
});

test('Firefox: two tabs share a download and read at once', { skip }, async () => {
  const file = server.add('/model.gguf', { data, rate: 6 * MiB });
  await open();
  const first = await firefox.tab();
  await startUntil({ url: url(), connections: 1 }, 0);
  await firefox.newTab();
  await open();
  const model = await call('download', { url: url() });
  assert.ok((await progress()).some(({ phase }) => phase === 'waiting'));
  assert.equal(file.sent, SIZE + 1);
  assert.deepEqual(await call('open', model.key), [sha256(data)]);
  await firefox.switchTo(first);
  assert.deepEqual(await firefox.evaluate('() => window.running'), model);
  assert.deepEqual(await call('open', model.key), [sha256(data)]);
  await call('close');
  assert.equal((await firefox.evaluate('(key) => globalThis.fails("remove", key)', model.key)).code, 'model_in_use');
});

test('Firefox: a private window', { skip }, async () => {
  server.add('/model.gguf', { data });
  const { kind, why } = await open({ 'browser.privatebrowsing.autostart': true });
  console.log(`a private window has: ${kind} (${why})`);
  assert.equal(kind === 'memory', typeof why === 'string');
  const model = await call('download', { url: url(), sha256: sha256(data) });
  assert.deepEqual(await call('open', model.key), [sha256(data)]);
});
