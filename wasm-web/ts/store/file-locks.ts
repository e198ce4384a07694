/**
 * Locks between processes and threads by files `<key>.lock`, which say who holds them.
 *
 * A lock file is made in one step, by linking a finished one to its name: it is never seen half written. Its holder touches it
 * every few seconds. It counts as left behind when its process is gone, or (another machine, a thread that was ended) when it
 * was not touched for a minute; then it is renamed away in one step and its content compared with what was found before, so
 * that of two who find it only one takes it over. Shared locks are not needed: a file that is removed stays with those that
 * have it open.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { throwIfAborted } from '../errors.js';
import { sleep } from './http.js';
import type { Lock, LockRequest } from './types.js';

const TOUCH_MS = 5_000;
const STALE_MS = 60_000;
const POLL_MS = 200;

/** Locks in one folder. */
export class FileLocks {
  constructor(private readonly folder: string) {}

  async lock(key: string, { mode, wait, signal }: LockRequest): Promise<Lock | undefined> {
    if (mode === 'shared') return { release: () => {} };
    const file = path.join(this.folder, `${key}.lock`);
    for (;;) {
      throwIfAborted(signal);
      const lock = take(file);
      if (lock || !wait) return lock;
      await sleep(POLL_MS, signal);
    }
  }
}

/** Takes the lock if it is free or left behind. */
function take(file: string): Lock | undefined {
  const mine = JSON.stringify({ pid: process.pid, host: os.hostname(), id: randomUUID() });
  const draft = `${file}.${process.pid}.${randomUUID()}`;
  fs.writeFileSync(draft, mine, { flag: 'wx' });
  try {
    const other = readIfThere(file);
    if (other !== undefined && !(leftBehind(file, other) && moveAway(file, other))) return undefined;
    linkOrWrite(draft, file, mine);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
    throw error;
  } finally {
    fs.rmSync(draft, { force: true });
  }
  return held(file, mine);
}

function held(file: string, mine: string): Lock {
  const lost = new AbortController();
  const timer = setInterval(() => {
    if (readIfThere(file) === mine) fs.utimesSync(file, new Date(), new Date());
    else lost.abort();
  }, TOUCH_MS);
  timer.unref();
  const release = () => {
    clearInterval(timer);
    if (readIfThere(file) === mine) fs.rmSync(file, { force: true });
  };
  return { release, lost: lost.signal };
}

function leftBehind(file: string, content: string): boolean {
  const touched = fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  if (touched === undefined || Date.now() - touched > STALE_MS) return true;
  try {
    const { pid, host } = JSON.parse(content) as { pid?: unknown; host?: unknown };
    return host === os.hostname() && Number.isInteger(pid) && !alive(pid as number);
  } catch {
    return false;
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Renames a lock away if it still is the one that was looked at; puts it back otherwise. */
function moveAway(file: string, content: string): boolean {
  const aside = `${file}.${randomUUID()}`;
  try {
    fs.renameSync(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    throw error;
  }
  const found = readIfThere(aside);
  fs.rmSync(aside, { force: true });
  if (found === content || found === undefined) return true;
  fs.writeFileSync(file, found, { flag: 'wx' });
  return false;
}

/** Some file systems have no hard links (exFAT, Android): a tiny write is as close to one step as they get. */
function linkOrWrite(draft: string, file: string, content: string): void {
  try {
    fs.linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
    fs.writeFileSync(file, content, { flag: 'wx' });
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
