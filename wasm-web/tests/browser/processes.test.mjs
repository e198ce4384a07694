// Several Node processes and one cache folder: crashes, locks left behind, waiting for each other.
import { after, afterEach, before, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileStore, cacheFolder } from '../../dist/store/files.js';
import { list, openModel } from '../../dist/store/index.js';
import { noise, sha256, startServer } from './server.mjs';

const MiB = 1 << 20;
const data = noise(40 * MiB + 99);

let server;
let folder;
before(async () => (server = await startServer()));
after(() => server.close());
beforeEach(() => (folder = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-store-'))));
afterEach(() => fs.rmSync(folder, { recursive: true }));

/** Starts a download in another process. `until` waits for a line that satisfies a condition; `end` for the process. */
function startChild(options) {
  const args = [path.join(import.meta.dirname, 'child.mjs'), folder, JSON.stringify({ url: `${server.origin}/m.gguf`, ...options })];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = [];
  const reader = createInterface({ input: child.stdout });
  reader.on('line', (line) => lines.push(JSON.parse(line)));
  const ended = Promise.all([once(child, 'exit'), once(reader, 'close')]);
  const until = async (condition) => {
    while (!lines.some(condition) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 10));
    return lines.find(condition);
  };
  return { child, lines, until, end: () => ended };
}

test('kill -9: the lock is taken over, and at most 4 MiB per connection come twice', async () => {
  const file = server.add('/m.gguf', { data, rate: 10 * MiB });
  const connections = 3;
  const first = startChild({ connections });
  await first.until(({ progress }) => progress?.loaded > 24 * MiB);
  first.child.kill('SIGKILL');
  await first.end();
  assert.ok(
    fs.readdirSync(folder).some((name) => name.endsWith('.lock')),
    'the dead process left its lock',
  );
  const [{ bytesOnDisk }] = await list(fileStore(folder));
  assert.ok(bytesOnDisk >= 12 * MiB, `${bytesOnDisk}`);

  file.rate = undefined;
  const second = startChild({ connections, sha256: sha256(data) });
  const { progress } = await second.until(({ progress }) => progress);
  assert.deepEqual([progress.phase, progress.resumedFrom], ['download', bytesOnDisk]);
  const { model } = await second.until(({ model }) => model);
  await second.end();
  assert.ok(model.complete);
  const twice = file.sent - data.length - 2;
  assert.ok(twice <= connections * 4 * MiB, `${twice} bytes were sent twice`);
  assert.deepEqual(fs.readdirSync(folder), [model.key], 'no lock is left');
  const { files, close } = await openModel(fileStore(folder), model.key);
  const bytes = Buffer.alloc(data.length);
  files[0].read(bytes, { at: 0 });
  close();
  assert.ok(bytes.equals(data));
});

test('two processes: the second waits and shares', async () => {
  const file = server.add('/m.gguf', { data, rate: 20 * MiB });
  const first = startChild();
  await first.until(({ progress }) => progress);
  const second = startChild();
  await Promise.all([first.end(), second.end()]);
  assert.equal(second.lines[0].progress.phase, 'waiting');
  assert.deepEqual(second.lines.at(-1).model, first.lines.at(-1).model);
  assert.equal(file.sent, data.length + 1);
});

test('locks: of a living process, of a dead one, of another machine, of one that was ended long ago', async () => {
  const store = fileStore(folder);
  const file = path.join(folder, 'm.lock');
  const ask = (wait = false) => store.lock('m', { mode: 'exclusive', wait });
  const lock = await ask();
  assert.equal(await ask(), undefined);
  const next = ask(true);
  lock.release();
  (await next).release();
  assert.deepEqual(fs.readdirSync(folder), []);

  const gone = spawn(process.execPath, ['-e', '']);
  await once(gone, 'exit');
  const content = (pid, host) => JSON.stringify({ pid, host, id: 'x' });
  for (const [text, minutes, free] of [
    [content(process.pid, os.hostname()), 0, false],
    [content(gone.pid, os.hostname()), 0, true],
    [content(gone.pid, 'another-machine'), 0, false],
    [content(gone.pid, 'another-machine'), 2, true],
    [content(process.pid, os.hostname()), 2, true],
    ['', 0, false],
    ['', 2, true],
  ]) {
    fs.writeFileSync(file, text);
    const touched = new Date(Date.now() - minutes * 60_000);
    fs.utimesSync(file, touched, touched);
    const lock = await ask();
    assert.equal(lock !== undefined, free, `${text} ${minutes}`);
    lock?.release();
    fs.rmSync(file, { force: true });
  }
});

test('a lock left behind goes to one of many', async () => {
  const gone = spawn(process.execPath, ['-e', '']);
  await once(gone, 'exit');
  fs.writeFileSync(path.join(folder, 'm.lock'), JSON.stringify({ pid: gone.pid, host: os.hostname(), id: 'x' }));
  const locks = await Promise.all(Array.from({ length: 8 }, () => fileStore(folder).lock('m', { mode: 'exclusive', wait: false })));
  const taken = locks.filter(Boolean);
  assert.equal(taken.length, 1);
  taken[0].release();
});

test('the cache folder follows the conventions of the system', () => {
  const { XDG_CACHE_HOME } = process.env;
  process.env.XDG_CACHE_HOME = '/somewhere';
  const { platform } = process;
  try {
    Object.defineProperty(process, 'platform', { value: 'linux' });
    assert.equal(cacheFolder(), '/somewhere');
    process.env.XDG_CACHE_HOME = '';
    assert.equal(cacheFolder(), path.join(os.homedir(), '.cache'));
    Object.defineProperty(process, 'platform', { value: 'darwin' });
    assert.equal(cacheFolder(), path.join(os.homedir(), 'Library', 'Caches'));
  } finally {
    Object.defineProperty(process, 'platform', { value: platform });
    if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
  }
});
