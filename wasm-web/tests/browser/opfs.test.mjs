// Downloads in Chromium: the private file system, crashes, quota, private windows, several tabs.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { noise, sha256, startServer } from './server.mjs';

const MiB = 1 << 20;
const SIZE = 18 * MiB + 4321;
const data = noise(SIZE);
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const options = { executablePath, headless: true, args: ['--no-sandbox'] };

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await chromium.launch(options);
});
after(async () => {
  await browser.close();
  server.close();
});
afterEach(async () => {
  server.files.clear();
  for (const context of browser.contexts()) await context.close();
});

/** A page whose worker has opened its store. Each context is a private window with storage of its own. */
async function openPage(context, { where = 'isolated', without } = {}) {
  const page = await (context ?? (await browser.newContext())).newPage();
  page.on('console', (message) => console.log(`page: ${message.text()}`));
  await page.goto(`${server.origin}/${where}/page.html`);
  const opened = await page.evaluate((without) => call('init', { without }), without);
  return { page, opened };
}

const url = () => `${server.origin}/model.gguf`;
const call = (page, method, ...args) => page.evaluate(([method, args]) => globalThis.call(method, ...args), [method, args]);
const fails = (page, method, ...args) => page.evaluate(([method, args]) => globalThis.fails(method, ...args), [method, args]);
const progress = (page) => page.evaluate(() => globalThis.progress);
const until = (page, condition) => page.waitForFunction(condition, undefined, { polling: 20 });

/** Starts a call without waiting for it; whoever wants the result awaits it. */
function start(page, method, ...args) {
  const running = call(page, method, ...args);
  running.catch(() => {});
  return running;
}

test('a download into the private file system, with progress, on a page with and without isolation', async () => {
  for (const where of ['isolated', 'plain']) {
    const file = server.add('/model.gguf', { data });
    const { page, opened } = await openPage(undefined, { where });
    assert.deepEqual(opened, { kind: 'opfs', why: undefined, isolated: where === 'isolated' });
    const model = await call(page, 'download', { url: url(), sha256: sha256(data) });
    assert.deepEqual(await call(page, 'open', model.key), [sha256(data)]);
    assert.equal(file.sent, SIZE + 1);
    const seen = await progress(page);
    assert.deepEqual([seen[0].loaded, seen[0].total, seen.at(-1).loaded], [0, SIZE, SIZE]);
    assert.ok(seen.length > 2);

    await call(page, 'close');
    await page.reload();
    await call(page, 'init', {});
    assert.deepEqual(await call(page, 'list'), [model]);
    await call(page, 'download', { url: url() });
    assert.equal(file.sent, SIZE + 1, 'no request for what is there');
    assert.equal(typeof (await page.evaluate(() => requestPersistence())), 'boolean');
  }
});

test('across origins: with all headers shown, with none, without permission', async () => {
  const { page } = await openPage();
  const other = `${server.other}/model.gguf`;
  for (const hidden of [false, true]) {
    const file = server.add('/model.gguf', { data, hidden });
    const model = await call(page, 'download', { url: other, sha256: sha256(data) });
    assert.deepEqual(await call(page, 'open', model.key), [sha256(data)]);
    assert.deepEqual(
      file.requests.filter(({ method }) => method === 'OPTIONS'),
      [],
      'no preflight',
    );
    assert.equal(file.sent, SIZE + 1, 'in ranges');
    await call(page, 'close');
    await call(page, 'remove', model.key);
  }
  server.add('/model.gguf', { data, cors: false });
  const error = await fails(page, 'download', { url: other, retries: 1 });
  assert.equal(error.code, 'download_interrupted');
  assert.match(error.message, /cannot be reached.*does not allow this page.*CORS/);
});

test('the connection is cut: goes on from the exact byte', async () => {
  const file = server.add('/model.gguf', { data });
  let cuts = 0;
  file.fault = ({ start, end }) => (end - start > 2 * MiB && cuts++ % 2 === 0 ? { cut: MiB + 300_000 } : undefined);
  const { page } = await openPage();
  const model = await call(page, 'download', { url: url(), sha256: sha256(data) });
  assert.ok(cuts > 4);
  assert.ok(model.complete);
  assert.ok((await progress(page)).some(({ note }) => /cut/.test(note ?? '')));
});

test('the network is gone for long: says what is kept; a new page resumes', async () => {
  const file = server.add('/model.gguf', { data });
  file.fault = ({ start }) => (start >= 8 * MiB ? { cut: 0 } : undefined);
  const { page } = await openPage();
  const error = await fails(page, 'download', { url: url(), retries: 1, connections: 1 });
  assert.equal(error.code, 'download_interrupted');
  assert.equal(error.details.kept, 8 * MiB);
  await page.close();
  file.fault = undefined;
  file.sent = 0;
  const { page: next } = await openPage(page.context());
  await call(next, 'download', { url: url(), sha256: sha256(data) });
  assert.equal((await progress(next))[0].resumedFrom, 8 * MiB);
  assert.equal(file.sent, SIZE - 8 * MiB + 1);
});

test('a tab that is closed in mid-download: its lock vanishes and the next goes on', async () => {
  const file = server.add('/model.gguf', { data, rate: 10 * MiB });
  const { page } = await openPage();
  const context = page.context();
  start(page, 'download', { url: url(), connections: 1 });
  await until(page, () => progress.some(({ loaded }) => loaded > 10e6));
  await page.close();
  file.rate = undefined;
  const { page: next } = await openPage(context);
  await call(next, 'download', { url: url(), sha256: sha256(data) });
  assert.ok((await progress(next)).some(({ resumedFrom }) => resumedFrom >= 8 * MiB));
  assert.ok(file.sent <= SIZE + 4 * MiB + 2, `${file.sent - SIZE} bytes were sent twice`);
});

test('kill -9 of the whole browser in mid-download: at most 4 MiB per connection come twice', async () => {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-profile-'));
  const big = noise(48 * MiB + 1, 8);
  const file = server.add('/model.gguf', { data: big, rate: 10 * MiB });
  const connections = 2;
  const kills = 2;
  try {
    for (let kill = 1; kill <= kills; kill++) {
      // Playwright does not tell the process of a persistent context: the profile's own lock does.
      const context = await chromium.launchPersistentContext(profile, options);
      const { page } = await openPage(context);
      start(page, 'download', { url: url(), connections });
      await page.waitForFunction((enough) => progress.some(({ loaded }) => loaded > enough), kill * 16e6, { polling: 20 });
      const pid = Number(/-(\d+)$/.exec(fs.readlinkSync(path.join(profile, 'SingletonLock')))[1]);
      const closed = new Promise((resolve) => context.once('close', resolve));
      process.kill(pid, 'SIGKILL');
      await closed;
    }
    file.rate = undefined;
    const context = await chromium.launchPersistentContext(profile, options);
    const { page } = await openPage(context);
    const [{ bytesOnDisk, complete }] = await call(page, 'list');
    assert.equal(complete, false);
    assert.ok(bytesOnDisk > 16 * MiB, `${bytesOnDisk} bytes survived`);
    const model = await call(page, 'download', { url: url(), sha256: sha256(big), connections });
    assert.deepEqual(await call(page, 'open', model.key), [sha256(big)]);
    assert.equal((await progress(page))[0].resumedFrom, bytesOnDisk);
    const twice = file.sent - big.length - (kills + 1);
    console.log(`sent twice after ${kills} kills with ${connections} connections: ${(twice / MiB).toFixed(2)} MiB`);
    assert.ok(twice <= kills * connections * 4 * MiB, `${twice} bytes were sent twice`);
    await context.close();
  } finally {
    fs.rmSync(profile, { recursive: true, force: true });
  }
});

test('a flipped byte: both hashes are named and the file is gone', async () => {
  const file = server.add('/model.gguf', { data });
  file.fault = ({ start }) => (start === 12 * MiB ? { flip: 12345 } : undefined);
  const { page } = await openPage();
  const error = await fails(page, 'download', { url: url(), sha256: sha256(data) });
  const flipped = Buffer.from(data);
  flipped[12 * MiB + 12345] ^= 1;
  assert.equal(error.code, 'checksum_mismatch');
  assert.deepEqual(error.details, { file: 'model.gguf', expected: sha256(data), actual: sha256(flipped) });
  assert.deepEqual(await call(page, 'list'), []);

  file.fault = undefined;
  const { key } = await call(page, 'download', { url: url() });
  assert.equal((await call(page, 'validate', key)).valid, true);
  await call(page, 'spoil', key, SIZE - 1);
  assert.equal((await call(page, 'validate', key)).valid, false);
});

test('quota: asked before the first byte; and when it ends in mid-write', async () => {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-profile-'));
  for (const context of [await browser.newContext(), await chromium.launchPersistentContext(profile, options)]) {
    const { page } = await openPage(context);
    const cdp = await context.newCDPSession(page);
    await cdp.send('Storage.overrideQuotaForOrigin', { origin: server.origin, quotaSize: 10 * MiB });
    const file = server.add('/model.gguf', { data });
    const error = await fails(page, 'download', { url: url() });
    assert.equal(error.code, 'quota_exceeded');
    assert.match(error.message, /needs 19 MB more, but .*Remove models/);
    assert.equal(error.details.needed, SIZE);
    assert.equal(file.sent, 1);

    // A server that does not tell the size beforehand.
    server.add('/model.gguf', { data, ranges: false, chunked: true });
    const late = await fails(page, 'download', { url: url() });
    assert.equal(late.code, 'quota_exceeded', late.message);
    assert.match(late.message, /became full.*Nothing was kept/);
    assert.deepEqual(await call(page, 'list'), []);

    await cdp.send('Storage.overrideQuotaForOrigin', { origin: server.origin });
    assert.ok((await call(page, 'download', { url: url() })).complete);
    await context.close();
  }
  fs.rmSync(profile, { recursive: true, force: true });
});

test('where files are refused: memory, and the reason', async () => {
  server.add('/model.gguf', { data });
  for (const [without, why] of [
    ['opfs', /no private file system.*kept in memory/],
    ['refused', /private windows \(not here\).*kept in memory/],
    ['handles', /no synchronous file access/],
  ]) {
    const { page, opened } = await openPage(undefined, { without });
    assert.equal(opened.kind, 'memory');
    assert.match(opened.why, why);
    const { key } = await call(page, 'download', { url: url(), sha256: sha256(data) });
    assert.deepEqual(await call(page, 'open', key), [sha256(data)]);
  }
});

test('an abort in mid-download is the AbortError of the platform', async () => {
  const file = server.add('/model.gguf', { data, rate: 5 * MiB });
  const { page } = await openPage();
  const failed = fails(page, 'download', { url: url() });
  await until(page, () => progress.some(({ loaded }) => loaded > 6e6));
  await call(page, 'abort');
  const { name, code, dom } = await failed;
  assert.deepEqual({ name, code, dom }, { name: 'AbortError', code: 'aborted', dom: true });
  const sent = file.sent;
  file.rate = undefined;
  await call(page, 'download', { url: url(), sha256: sha256(data) });
  assert.ok(sent < SIZE);
});

test('two tabs: the second waits, says so and shares; both read at once; neither can remove it from under the other', async () => {
  for (const without of [undefined, 'sharing']) {
    const file = server.add('/model.gguf', { data, rate: 6 * MiB });
    const { page: first } = await openPage(undefined, { without });
    const { page: second } = await openPage(first.context(), { without });
    const downloading = start(first, 'download', { url: url(), connections: 1 });
    await until(first, () => progress.some(({ loaded }) => loaded > 0));
    const [model, shared] = await Promise.all([downloading, call(second, 'download', { url: url() })]);
    assert.deepEqual(shared, model);
    assert.equal(file.sent, SIZE + 1);
    const waiting = (await progress(second)).filter(({ phase }) => phase === 'waiting');
    assert.match(waiting[0].note, /Another tab/);
    assert.ok(waiting.some(({ loaded, total }) => loaded > 0 && total === SIZE));

    const hashes = await Promise.all([call(first, 'open', model.key), call(second, 'open', model.key)]);
    assert.deepEqual(hashes, [[sha256(data)], [sha256(data)]]);
    assert.equal((await fails(first, 'remove', model.key)).code, 'model_in_use');
    await call(first, 'close');
    assert.equal((await fails(first, 'remove', model.key)).code, 'model_in_use');
    await second.close();
    // The lock of a tab that was closed vanishes by itself, in a moment.
    for (let error; (error = await fails(first, 'remove', model.key)); ) assert.equal(error.code, 'model_in_use');
    assert.deepEqual(await call(first, 'list'), []);
  }
});

test('a split model, a server without ranges, a file that changed since', async () => {
  const { page } = await openPage();
  const parts = [noise(9 * MiB, 2), noise(5 * MiB + 5, 3)];
  parts.forEach((data, i) => server.add(`/m-0000${i + 1}-of-00002.gguf`, { data }));
  const split = await call(page, 'download', { url: `${server.origin}/m-00002-of-00002.gguf` });
  assert.deepEqual(await call(page, 'open', split.key), parts.map(sha256));
  await call(page, 'close');

  for (const more of [{}, { chunked: true }, { gzip: true }]) {
    server.add('/model.gguf', { data, ranges: false, ...more });
    const { key } = await call(page, 'download', { url: url(), sha256: sha256(data) });
    await call(page, 'remove', key);
  }

  server.add('/model.gguf', { data, fault: ({ start }) => (start >= 8 * MiB ? { status: 500 } : undefined) });
  assert.equal((await fails(page, 'download', { url: url(), retries: 1, connections: 1 })).code, 'download_interrupted');
  const next = noise(12 * MiB, 9);
  server.add('/model.gguf', { data: next, etag: '"two"' });
  const changed = await call(page, 'download', { url: url() });
  assert.deepEqual(await call(page, 'open', changed.key), [sha256(next)]);
  assert.ok((await progress(page)).some(({ note }) => /changed on its server.*starts over/.test(note ?? '')));
});
