// Drives a stock Firefox through Marionette, its own remote protocol: `<length>:[type, id, command, parameters]` over TCP.
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const firefoxPath = process.env.FIREFOX ?? '/usr/bin/firefox';

/** Starts Firefox on a profile folder with preferences. `evaluate(function, ...arguments)` runs in the page at hand. */
export async function startFirefox(profile, preferences = {}) {
  const all = {
    'marionette.port': 0,
    'browser.shell.checkDefaultBrowser': false,
    'datareporting.policy.dataSubmissionEnabled': false,
    ...preferences,
  };
  const lines = Object.entries(all).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
  fs.writeFileSync(path.join(profile, 'user.js'), lines.join(''));
  const portFile = path.join(profile, 'MarionetteActivePort');
  fs.rmSync(portFile, { force: true });
  const process = spawn(firefoxPath, ['--headless', '--marionette', '--no-remote', '--profile', profile], {
    stdio: 'ignore',
    detached: true,
  });
  const exited = new Promise((resolve) => process.once('exit', resolve));
  while (!fs.existsSync(portFile) || !fs.readFileSync(portFile, 'utf8')) await sleep(50);
  const send = await marionette(Number(fs.readFileSync(portFile, 'utf8')));
  await send('WebDriver:NewSession', { strictFileInteractability: false });
  await send('WebDriver:SetTimeouts', { script: 300_000 });
  const evaluate = async (script, ...args) => {
    const body = `const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1);
      Promise.resolve().then(() => (${script})(...given)).then((value) => done({ value }), (error) => done({ error: String(error) }));`;
    const { value } = await send('WebDriver:ExecuteAsyncScript', { script: body, args, sandbox: null, newSandbox: false });
    if (value.error) throw new Error(value.error);
    return value.value;
  };
  return {
    process,
    evaluate,
    goto: (url) => send('WebDriver:Navigate', { url }),
    /** Opens a tab and goes on in it; returns its handle. */
    newTab: async () => {
      const { handle } = await send('WebDriver:NewWindow', { type: 'tab' });
      await send('WebDriver:SwitchToWindow', { handle });
      return handle;
    },
    tab: async () => (await send('WebDriver:GetWindowHandle')).value,
    switchTo: (handle) => send('WebDriver:SwitchToWindow', { handle }),
    closeTab: () => send('WebDriver:CloseWindow'),
    quit: async () => {
      await send('Marionette:Quit', { flags: ['eForceQuit'] }).catch(() => {});
      await exited;
    },
    /** kill -9 of the browser and its content processes. */
    kill: async () => {
      globalThis.process.kill(-process.pid, 'SIGKILL');
      await exited;
    },
  };
}

/** Connects; returns a function that sends a command and waits for its answer. */
async function marionette(port) {
  const socket = connect(port, '127.0.0.1');
  const pending = new Map();
  let greeted;
  const greeting = new Promise((resolve) => (greeted = resolve));
  let buffer = Buffer.alloc(0);
  socket.on('data', (bytes) => {
    buffer = Buffer.concat([buffer, bytes]);
    for (;;) {
      const colon = buffer.indexOf(':');
      const end = colon + 1 + Number(buffer.subarray(0, Math.max(0, colon)));
      if (colon < 0 || buffer.length < end) return;
      const message = JSON.parse(buffer.subarray(colon + 1, end));
      buffer = buffer.subarray(end);
      if (!Array.isArray(message)) greeted();
      else answer(message);
    }
  });
  const answer = ([, id, error, result]) => {
    const { resolve, reject } = pending.get(id);
    pending.delete(id);
    if (error) reject(new Error(`${error.error}: ${error.message}`));
    else resolve(result);
  };
  const gone = () => pending.forEach(({ reject }) => reject(new Error('Firefox is gone')));
  socket.on('error', gone);
  socket.on('close', gone);
  await greeting;
  let last = 0;
  return (command, parameters = {}) =>
    new Promise((resolve, reject) => {
      pending.set(++last, { resolve, reject });
      const text = JSON.stringify([0, last, command, parameters]);
      socket.write(`${Buffer.byteLength(text)}:${text}`);
    });
}
