// Downloads in Node, with files in a folder: everything but what only a browser has.
import { after, afterEach, before, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { download, list, memoryStore, openModel, peek, remove, validate } from '../../dist/store/index.js';
import { fileStore } from '../../dist/store/files.js';
import { noise, sha256, startServer } from './server.mjs';

const MiB = 1 << 20;
const SIZE = 11 * MiB + 12345;
const data = noise(SIZE);

let server;
let folder;
let store;
before(async () => (server = await startServer()));
after(() => server.close());
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-store-'));
  store = fileStore(folder);
});
afterEach(() => {
  server.files.clear();
  fs.rmSync(folder, { recursive: true });
});

function hasher() {
  const hash = createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}

/** Downloads and returns the model, with the progress that was reported. */
async function get(options, into = store) {
  const progress = [];
  const defaults = { hasher, retryDelay: 5, retries: 3, url: `${server.origin}/model.gguf` };
  const model = await download(into, { ...defaults, ...options, progress: (p) => (progress.push(p), options?.progress?.(p)) });
  return { model, progress, notes: progress.map(({ note }) => note).filter(Boolean) };
}

async function content(key, from = store) {
  const { files, close } = await openModel(from, key);
  const all = files.map((file) => {
    const bytes = Buffer.alloc(file.getSize());
    file.read(bytes, { at: 0 });
    return bytes;
  });
  close();
  return Buffer.concat(all);
}

/** Compares a model with what it should be (without printing the bytes). The arguments are those of `content`, then the bytes. */
async function same(...args) {
  const expected = args.pop();
  assert.ok((await content(...args)).equals(expected), 'these are not the bytes of the server');
}

const code = (code, pattern) => (error) => {
  assert.equal(error.code, code, error.stack);
  if (pattern) assert.match(error.message, pattern);
  return true;
};

test('a download: the bytes, the hash, progress, and no request the second time', async () => {
  const file = server.add('/model.gguf', { data });
  const { model, progress } = await get({ sha256: sha256(data).toUpperCase() });
  await same(model.key, data);
  assert.equal(model.files[0].sha256, sha256(data));
  assert.deepEqual([model.complete, model.bytes, model.bytesOnDisk, model.files[0].name], [true, SIZE, SIZE, 'model.gguf']);
  assert.equal(file.sent, SIZE + 1, 'each byte once, and one to ask for the size');
  assert.deepEqual([progress[0].phase, progress[0].loaded, progress[0].total], ['download', 0, SIZE]);
  assert.deepEqual([progress.at(-1).loaded, progress.at(-1).total], [SIZE, SIZE]);
  const loaded = progress.filter(({ phase }) => phase === 'download').map((p) => p.loaded);
  assert.deepEqual(
    loaded,
    loaded.toSorted((a, b) => a - b),
  );

  const requests = file.requests.length;
  assert.deepEqual((await get()).model, model);
  assert.equal(file.requests.length, requests);
  assert.deepEqual(await list(store), [model]);
});

test('several connections at a time, never more than asked for', async () => {
  for (const connections of [1, 3]) {
    let now = 0;
    let most = 0;
    const gone = (response) => response.once('finish', () => now--);
    server.add(`/${connections}.gguf`, { data: noise(24 * MiB), rate: 200 * MiB, fault: () => void (most = Math.max(most, ++now)) });
    const ends = server.files.get(`/${connections}.gguf`);
    ends.requests.push = function (seen) {
      gone(seen.response);
      return Array.prototype.push.call(this, seen);
    };
    await get({ url: `${server.origin}/${connections}.gguf`, connections });
    assert.equal(most, connections);
  }
});

test('no request is longer than 4 MiB, and none is made before the last one of its connection is in the journal', async () => {
  const file = server.add('/model.gguf', { data });
  const unwritten = [];
  file.fault = ({ start, end, index }) => {
    assert.ok(end - start <= 4 * MiB);
    if (index === 0) return;
    const [key] = fs.readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const lines = fs
      .readFileSync(path.join(folder, key.name, 'journal'), 'utf8')
      .trim()
      .split('\n');
    const blocks = lines.flatMap((line) => JSON.parse(line).blocks ?? []);
    unwritten.push(start / MiB - new Set(blocks).size);
  };
  await get({ connections: 1 });
  assert.deepEqual(unwritten, [0, 0, 0]);
});

test('connections that are cut go on from the exact byte', async () => {
  const file = server.add('/model.gguf', { data });
  let cuts = 0;
  file.fault = ({ start, end }) => (end - start > 2 * MiB && cuts++ < 6 ? { cut: MiB + 500_000 } : undefined);
  const { model, notes } = await get();
  await same(model.key, data);
  assert.ok(cuts > 2);
  assert.ok(
    notes.some((note) => /cut/.test(note)),
    notes.join(),
  );
  assert.ok(file.sent <= SIZE + cuts * 256 * 1024, `${file.sent - SIZE} bytes were sent twice`);
});

test('a server that is busy is asked again, when it says', async () => {
  const file = server.add('/model.gguf', { data });
  const asked = [];
  file.fault = ({ index }) => {
    asked.push(Date.now());
    return index === 1 ? { status: 503, headers: { 'retry-after': '1' } } : undefined;
  };
  const { model, notes } = await get({ connections: 1 });
  await same(model.key, data);
  assert.ok(asked[2] - asked[1] >= 1000);
  assert.match(notes[0], /503/);
});

test('giving up says what is kept, and the next call fetches only the rest', async () => {
  const file = server.add('/model.gguf', { data });
  file.fault = ({ start }) => (start >= 8 * MiB ? { status: 500 } : undefined);
  await assert.rejects(get({ connections: 1 }), code('download_interrupted', /500.*8\.4 MB of 12 MB are kept/));
  const [part] = await list(store);
  assert.deepEqual([part.complete, part.bytesOnDisk], [false, 8 * MiB]);
  await assert.rejects(openModel(store, part.key), code('model_not_found', /not whole/));

  file.fault = undefined;
  file.sent = 0;
  const { model, progress } = await get();
  assert.equal(progress[0].resumedFrom, 8 * MiB);
  assert.equal(file.sent, SIZE - 8 * MiB + 1);
  assert.equal(model.files[0].sha256, sha256(data));
  await same(model.key, data);
});

test('what no server says: no address, no permission, a web page, nothing', async () => {
  await assert.rejects(get(), code('model_not_found', /404.*Check the address/));
  server.add('/model.gguf', { data, fault: () => ({ status: 403 }) });
  await assert.rejects(get(), code('model_not_found', /permission.*headers/));
  server.add('/model.gguf', { data, fault: () => ({ headers: { 'content-type': 'text/html; charset=utf-8' } }) });
  await assert.rejects(get(), code('model_not_found', /web page.*\/resolve\//));
  server.add('/model.gguf', { data: Buffer.alloc(0) });
  await assert.rejects(get(), code('model_not_found', /empty/));
  assert.deepEqual(await list(store), [], 'nothing is left behind');
  await assert.rejects(get({ url: 'http://localhost:1/model.gguf', retries: 1 }), code('download_interrupted', /cannot be reached/));
});

test('requests that make no sense are refused by name', async () => {
  for (const [options, pattern] of [
    [{ url: undefined }, /No URL/],
    [{ url: 'model.gguf' }, /not a URL/],
    [{ url: 'ftp://example.org/model.gguf' }, /only https and http/],
    [{ sha256: 'abc' }, /64 hex digits/],
    [{ sha256: [sha256('a'), sha256('b')] }, /1 file\(s\), but 2/],
    [{ url: 'https://example.org/m-00001-of-90000.gguf' }, /90000 parts/],
  ]) {
    await assert.rejects(get(options), code('invalid_request', pattern));
  }
});

test('a flipped byte is found, named and removed; the next download is clean', async () => {
  const file = server.add('/model.gguf', { data });
  file.fault = ({ start }) => (start === 4 * MiB ? { flip: 1_000_000 } : undefined);
  const flipped = Buffer.from(data);
  flipped[4 * MiB + 1_000_000] ^= 1;
  await assert.rejects(get({ sha256: sha256(data) }), (error) => {
    assert.deepEqual(error.details, { file: 'model.gguf', expected: sha256(data), actual: sha256(flipped) });
    return code('checksum_mismatch', new RegExp(`${sha256(flipped)}.*${sha256(data)}.*removed`))(error);
  });
  assert.deepEqual(await list(store), []);
  file.fault = undefined;
  await same((await get({ sha256: sha256(data) })).model.key, data);
});

test('a hash that the server names is held against the file', async () => {
  server.add('/model.gguf', { data, linked: `"${sha256(data)}"` });
  await get();
  server.add('/other.gguf', { data, linked: `"${sha256('something else')}"` });
  await assert.rejects(get({ url: `${server.origin}/other.gguf` }), code('checksum_mismatch', /server names/));
});

test('another expected hash than the stored one: downloaded anew', async () => {
  server.add('/model.gguf', { data });
  await get();
  const next = noise(SIZE, 2);
  server.add('/model.gguf', { data: next, etag: '"two"' });
  const { model } = await get({ sha256: sha256(next) });
  await same(model.key, next);
  await assert.rejects(get({ sha256: sha256(data) }), code('checksum_mismatch'));
});

test('a file that changed on the server since starts over and says so', async () => {
  for (const [was, is] of [
    [{ etag: '"one"' }, { etag: '"two"' }],
    [
      { etag: undefined, modified: 'Mon, 01 Jan 2024 00:00:00 GMT' },
      { etag: undefined, modified: 'Tue, 02 Jan 2024 00:00:00 GMT' },
    ],
  ]) {
    const cut = ({ start }) => (start >= 8 * MiB ? { status: 500 } : undefined);
    server.add('/model.gguf', { data, ...was, fault: cut });
    await assert.rejects(get({ connections: 1 }), code('download_interrupted'));
    const next = noise(SIZE, 3);
    server.add('/model.gguf', { data: next, ...is });
    const { model, progress, notes } = await get();
    assert.match(notes[0], /changed on its server.*starts over/);
    assert.equal(progress[0].loaded, 0);
    assert.equal(progress.at(-1).resumedFrom, undefined);
    await same(model.key, next);
    await remove(store, model.key);
  }
});

test('a file that changes in mid-download is not mixed up, whatever the server makes of If-Range', async () => {
  for (const conditions of [true, false]) {
    const next = noise(SIZE, 4);
    const file = server.add(`/${conditions}.gguf`, { data, conditions });
    file.fault = ({ start }) => {
      if (start !== 4 * MiB || file.data === next) return undefined;
      file.data = next;
      file.etag = '"two"';
      return { status: 503 };
    };
    const { model, notes } = await get({ url: `${server.origin}/${conditions}.gguf`, connections: 1 });
    await same(model.key, next);
    assert.ok(notes.some((note) => /starts over/.test(note)));
  }
});

test('servers without ranges: one stream, tried again from the beginning', async () => {
  for (const [name, options] of Object.entries({ plain: {}, chunked: { chunked: true }, gzip: { gzip: true } })) {
    let streams = 0;
    const fault = ({ range }) => (range === undefined && streams++ === 0 ? { cut: 5 * MiB + 1 } : undefined);
    server.add(`/${name}.gguf`, { data, ranges: false, ...options, fault });
    const { model, progress } = await get({ url: `${server.origin}/${name}.gguf` });
    await same(model.key, data);
    assert.equal(streams, 2);
    assert.deepEqual([model.bytes, progress.at(-1).loaded, model.files[0].sha256], [SIZE, SIZE, sha256(data)], name);
  }
});

test('any part of a split model means all of it', async () => {
  const parts = [noise(5 * MiB + 1, 5), noise(3 * MiB, 6), noise(77, 7)];
  const files = parts.map((data, i) => server.add(`/m-0000${i + 1}-of-00003.gguf`, { data }));
  const hashes = parts.map(sha256);
  files[2].fault = () => ({ status: 404 });
  const url = `${server.origin}/m-00002-of-00003.gguf`;
  await assert.rejects(get({ url }), code('model_not_found', /m-00003-of-00003/));
  files[2].fault = undefined;
  const { model, progress } = await get({ url, sha256: hashes });
  await same(model.key, Buffer.concat(parts));
  assert.deepEqual(
    model.files.map((file) => file.sha256),
    hashes,
  );
  assert.equal(progress[0].total, 8 * MiB + 78);
  assert.ok(progress.some(({ file }) => file === 'm-00003-of-00003.gguf'));
  assert.equal((await get({ url: `${server.origin}/m-00001-of-00003.gguf` })).model.key, model.key);

  const list = parts.map((data, i) => (server.add(`/part${i}`, { data }), `${server.origin}/part${i}`));
  await same((await get({ url: undefined, urls: list })).model.key, Buffer.concat(parts));
});

test('an abort is heard at once, keeps what came, and is the AbortError of the platform', async () => {
  const file = server.add('/model.gguf', { data, rate: 20 * MiB });
  const controller = new AbortController();
  const progress = ({ loaded }) => loaded > 6 * MiB && controller.abort();
  await assert.rejects(get({ signal: controller.signal, progress }), (error) => {
    assert.ok(error instanceof DOMException);
    assert.deepEqual([error.name, error.code], ['AbortError', 'aborted']);
    return true;
  });
  const requests = file.requests.length;
  await assert.rejects(get({ signal: AbortSignal.abort() }), code('aborted'));
  assert.equal(file.requests.length, requests);
  const [{ bytesOnDisk }] = await list(store);
  assert.ok(bytesOnDisk >= 2 * MiB, `${bytesOnDisk}`);
  file.rate = undefined;
  assert.equal((await get()).progress[0].resumedFrom, bytesOnDisk);
});

test('an abort while waiting for the server or for a lock', async () => {
  server.add('/model.gguf', { data, fault: () => ({ status: 503, headers: { 'retry-after': '100' } }) });
  const waiting = new AbortController();
  await assert.rejects(get({ signal: waiting.signal, progress: ({ note }) => note && waiting.abort() }), code('aborted'));

  const file = server.add('/model.gguf', { data, rate: 10 * MiB });
  const first = new AbortController();
  const running = get({ signal: first.signal });
  while (file.requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  const second = new AbortController();
  await assert.rejects(get({ signal: second.signal, progress: ({ phase }) => phase === 'waiting' && second.abort() }), code('aborted'));
  first.abort();
  await assert.rejects(running, code('aborted'));
});

test('no room: asked before the first byte, and told in figures', async () => {
  const file = server.add('/model.gguf', { data });
  const small = Object.create(store, { space: { value: async () => ({ free: 5 * MiB, quota: 6 * MiB }) } });
  await assert.rejects(get({}, small), (error) => {
    assert.deepEqual(error.details, { needed: SIZE, free: 5 * MiB, quota: 6 * MiB });
    return code('quota_exceeded', /needs 12 MB more, but only 5\.2 MB are free.*6\.3 MB in all.*Remove/)(error);
  });
  assert.equal(file.sent, 1);
});

test('the disk is full in mid-write: what came before is kept', async () => {
  server.add('/model.gguf', { data });
  const full = Object.create(store);
  full.open = async (key, name, mode) => {
    const handle = await store.open(key, name, mode);
    if (!name.endsWith('.gguf')) return handle;
    const write = (bytes, { at }) => {
      if (at >= 6 * MiB) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      handle.write(bytes, { at });
    };
    return {
      getSize: () => handle.getSize(),
      read: (...a) => handle.read(...a),
      write,
      truncate: (n) => handle.truncate(n),
      flush() {},
      close: () => handle.close(),
    };
  };
  await assert.rejects(get({ connections: 1 }, full), code('quota_exceeded', /6\.3 MB of 12 MB are kept/));
  assert.equal((await get()).progress[0].resumedFrom, 6 * MiB);
});

test('two at once: the second waits, says so, and shares what the first fetched', async () => {
  const file = server.add('/model.gguf', { data, rate: 5 * MiB });
  const other = fileStore(folder);
  const [first, second] = await Promise.all([get({ connections: 1 }), get({ connections: 1 }, other)]);
  assert.deepEqual(first.model, second.model);
  assert.equal(file.sent, SIZE + 1);
  const waited = [first, second].filter(({ progress }) => progress[0].phase === 'waiting');
  assert.equal(waited.length, 1);
  assert.match(waited[0].notes[0], /Another tab or process/);
  assert.ok(
    waited[0].progress.some(({ loaded, total }) => loaded > 0 && total === SIZE),
    'it sees the other advance',
  );
});

test('a journal that was torn loses its last line only; one that makes no sense, everything', async () => {
  const file = server.add('/model.gguf', { data });
  file.fault = ({ start }) => (start >= 8 * MiB ? { status: 500 } : undefined);
  await assert.rejects(get({ connections: 1 }), code('download_interrupted'));
  const journal = path.join(folder, (await list(store))[0].key, 'journal');
  const text = fs.readFileSync(journal, 'utf8');
  fs.writeFileSync(journal, `${text}{"file":0,"blocks":[8,9`);
  await assert.rejects(get({ connections: 1 }), code('download_interrupted'));
  assert.equal(fs.readFileSync(journal, 'utf8'), text);

  const head = text.split('\n').slice(0, 2).join('\n');
  for (const bad of [
    '{"file":0,"blocks":[3e99]}',
    '{"file":7,"blocks":[3]}',
    '{"file":"length"}',
    '{"file":0,"sha256":"x"}',
    '{"file":0,"bytes":-1}',
    'null',
    '{',
  ]) {
    fs.writeFileSync(journal, `${head}\n{"file":0,"blocks":[0,1]}\n${bad}\n{"file":0,"blocks":[2]}\n`);
    assert.equal((await list(store))[0].bytesOnDisk, 2 * MiB, `up to ${bad}`);
  }
  fs.writeFileSync(journal, 'not ours');
  file.fault = undefined;
  file.sent = 0;
  const { model } = await get();
  assert.equal(file.sent, SIZE + 1);
  await same(model.key, data);
});

test('blocks that the journal claims but the file lacks are fetched again', async () => {
  const file = server.add('/model.gguf', { data });
  file.fault = ({ start }) => (start >= 8 * MiB ? { status: 500 } : undefined);
  await assert.rejects(get({ connections: 1 }), code('download_interrupted'));
  const [{ key }] = await list(store);
  fs.truncateSync(path.join(folder, key, '0.gguf'), 5 * MiB + 1);
  file.fault = undefined;
  const { progress, model } = await get({ sha256: sha256(data) });
  assert.equal(progress[0].resumedFrom, 5 * MiB);
  fs.rmSync(path.join(folder, key, '0.gguf'));
  await assert.rejects(openModel(store, key), code('model_not_found'));
  await same((await get()).model.key, data);
});

test('validate finds a byte that flipped on disk; remove removes', async () => {
  server.add('/model.gguf', { data });
  const { model } = await get();
  const progress = [];
  assert.equal((await validate(store, model.key, { hasher, progress: (p) => progress.push(p) })).valid, true);
  assert.deepEqual([progress[0].phase, progress.at(-1).loaded, progress.at(-1).total], ['verify', SIZE, SIZE]);
  const file = path.join(folder, model.key, '0.gguf');
  const bytes = fs.readFileSync(file);
  bytes[SIZE - 1] ^= 128;
  fs.writeFileSync(file, bytes);
  const found = await validate(store, model.key, { hasher });
  assert.deepEqual(found, { valid: false, files: [{ name: 'model.gguf', expected: sha256(data), actual: sha256(bytes) }] });
  await assert.rejects(validate(store, model.key, { hasher, signal: AbortSignal.abort() }), code('aborted'));
  await remove(store, model.key);
  assert.deepEqual([await list(store), fs.readdirSync(folder)], [[], []]);
  await assert.rejects(remove(store, model.key), code('model_not_found'));
  await assert.rejects(remove(store, '../..'), code('model_not_found'));
  await assert.rejects(openModel(store, '../..'), code('invalid_request'));
});

test('a model that is being downloaded cannot be removed', async () => {
  const file = server.add('/model.gguf', { data, rate: 10 * MiB });
  const running = get();
  while (file.requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  const [{ key }] = await list(store);
  await assert.rejects(remove(store, key), code('model_in_use', /Close it there/));
  assert.equal((await running).model.complete, true);
});

test('in memory: the same, into any handle', async () => {
  server.add('/model.gguf', { data, ranges: false });
  server.add('/ranges.gguf', { data });
  for (const url of [`${server.origin}/model.gguf`, `${server.origin}/ranges.gguf`]) {
    const memory = memoryStore({ why: 'a test' });
    const { model } = await get({ url, sha256: sha256(data) }, memory);
    assert.deepEqual([memory.kind, memory.why], ['memory', 'a test']);
    await same(model.key, memory, data);
    assert.equal((await validate(memory, model.key, { hasher })).valid, true);
    const open = await openModel(memory, model.key);
    await assert.rejects(remove(memory, model.key), code('model_in_use'));
    open.close();
    await remove(memory, model.key);
    assert.deepEqual(await list(memory), []);
  }
  const own = Buffer.alloc(SIZE);
  const handle = {
    getSize: () => SIZE,
    read: (into, { at }) => own.copy(into, 0, at),
    write: (bytes, { at }) => own.set(bytes, at),
    truncate() {},
    flush() {},
    close: () => own.fill(0),
  };
  const memory = memoryStore({ allocate: () => handle });
  const { model } = await get({ url: `${server.origin}/ranges.gguf` }, memory);
  assert.ok(own.equals(data));
  await remove(memory, model.key);
  assert.equal(own[0], 0, 'closed when it is removed');
});

test('secrets are neither stored nor sent on, and a freshly signed address resumes', async () => {
  const file = server.add('/model.gguf', { data });
  file.fault = ({ start, headers }) => {
    if (headers.authorization !== 'Bearer private') return { status: 401 };
    return start >= 8 * MiB ? { status: 500 } : undefined;
  };
  const headers = { authorization: 'Bearer private' };
  const signed = (signature) => `${server.origin}/model.gguf?v=3&X-Amz-Signature=${signature}&token=t0ken#frag`;
  await assert.rejects(get({ url: signed('s1gned'), headers, connections: 1 }), code('download_interrupted', /model\.gguf was/));
  const [{ key, url }] = await list(store);
  assert.equal(url, `${server.origin}/model.gguf`);
  const written = fs.readdirSync(path.join(folder, key)).map((name) => fs.readFileSync(path.join(folder, key, name), 'latin1'));
  assert.doesNotMatch(key + written.slice(1).join(), /s1gned|t0ken|private|v=3|frag/);
  file.fault = undefined;
  assert.equal((await get({ url: signed('an0ther'), headers })).progress[0].resumedFrom, 8 * MiB);
  const other = await get({ url: `${server.origin}/model.gguf?v=4` });
  assert.notEqual(other.model.key, key, 'another query may be another file');
});

test('redirects: followed once, asked anew when their target expires, our headers stay at home', async () => {
  const landing = server.add('/cdn/abc', { data });
  let expired = false;
  landing.fault = ({ index }) => (index === 3 && !expired ? ((expired = true), { status: 403 }) : undefined);
  const first = server.add('/model.gguf', { data, redirect: `${server.other}/cdn/abc` });
  const { model } = await get({ headers: { authorization: 'Bearer me' }, connections: 1 });
  await same(model.key, data);
  assert.ok(expired);
  assert.equal(first.requests.length, 2, 'the probe, and once after the target expired');
  assert.ok(first.requests.every(({ headers }) => headers.authorization === 'Bearer me'));
  assert.ok(landing.requests.every(({ headers }) => headers.authorization === undefined));
});

test('a look at the first bytes stores nothing and fetches no more', async () => {
  const options = { hasher, retryDelay: 5 };
  const parts = [data, noise(100, 5)].map((data, i) => server.add(`/m-0000${i + 1}-of-00002.gguf`, { data }));
  const found = await peek({ ...options, url: `${server.origin}/m-00001-of-00002.gguf` }, 5000);
  assert.deepEqual(
    found.map(({ name, bytes }) => [name, bytes]),
    [
      ['m-00001-of-00002.gguf', SIZE],
      ['m-00002-of-00002.gguf', 100],
    ],
  );
  assert.ok(data.subarray(0, 5000).equals(found[0].head) && parts[1].data.equals(found[1].head));
  assert.deepEqual(
    parts.map(({ sent }) => sent),
    [5000, 100],
  );
  server.add('/model.gguf', { data, ranges: false, chunked: true });
  const [{ head }] = await peek({ ...options, url: `${server.origin}/model.gguf` }, 5000);
  assert.ok(data.subarray(0, 5000).equals(head));
  await assert.rejects(peek({ ...options, url: `${server.origin}/none.gguf` }, 5000), code('model_not_found'));
  assert.deepEqual(await list(store), []);
});
