// The examples, installed from the packed tarball as a user would: all generate the same text, on every run time and bundler.
//
// PICOLM_TARBALL: what `npm pack` made (else it is packed here, from dist/). PICOLM_MODEL adds a real model, PICOLM_BIN the native
// binary, whose text is then the one to match. CHROMIUM: a browser that is not /usr/bin/chromium.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { golden, withTemplate } from './browser/golden.mjs';
import { startServer } from './browser/server.mjs';

const run = promisify(execFile);
const PACKAGE = path.resolve(import.meta.dirname, '..');
const APPS = fs.readdirSync(path.join(PACKAGE, 'examples'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
const PROMPT = 'Why is the sky blue?';
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const cores = Math.min(os.availableParallelism(), 8);

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-apps-'));
const open = new Set();
/** Paths of model files, their URLs, and what they answer. */
let models;
let modelServer;
let browser;

before(async () => {
  const tarball = process.env.PICOLM_TARBALL ? path.resolve(process.env.PICOLM_TARBALL) : await pack();
  await Promise.all(APPS.map(({ name }) => install(name, tarball)));
  modelServer = await startServer();
  const small = path.join(folder, 'golden-chat.gguf');
  fs.writeFileSync(small, withTemplate(golden('llama-Q4_0.gguf')));
  const files = [small, ...(process.env.PICOLM_MODEL ? [path.resolve(process.env.PICOLM_MODEL)] : [])];
  models = await Promise.all(
    files.map(async (file) => {
      const url = `${modelServer.other}/${path.basename(file)}`;
      modelServer.add(new URL(url).pathname, { data: fs.readFileSync(file) });
      return { file, url, text: process.env.PICOLM_BIN ? await native(file) : (await script('node', process.execPath, ['main.js'], file)).text };
    }),
  );
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
});
after(async () => {
  await browser?.close();
  modelServer?.close();
  for (const close of open) close();
  fs.rmSync(folder, { recursive: true, force: true });
});

test('the answer is one worth comparing', () => {
  for (const { text } of models) assert.ok(text.length > 40, text);
  if (models[1]) assert.match(models[1].text, /sky/);
});

test('Node', () => scripts('node', process.execPath, ['main.js']));
test('Bun', () => scripts('bun', bin('bun', 'bun'), ['main.ts']));
test('Deno, allowed to reach nothing but the server of the model', () => {
  const host = new URL(modelServer.other).host;
  // The package's folder, the model's, and the cache that models are kept in.
  const allowed = [`--allow-net=${host}`, `--allow-write=${cache('deno')}`, '--allow-read', '--allow-env', '--allow-sys', '--no-prompt'];
  return scripts('deno', bin('deno', 'deno'), ['run', ...allowed, 'main.ts']);
});

test('a Vite app, as it is deployed', async () => {
  await pages(await serve(path.join(folder, 'vite/dist')), cores);
});
test('a Vite app, as it is developed', async () => {
  await pages(await develop('vite', ['vite']), cores);
});
test('a webpack app, as it is deployed', async () => {
  await pages(await serve(path.join(folder, 'webpack')), cores);
});
test('a webpack app, as it is developed', async () => {
  await pages(await develop('webpack', ['webpack', 'serve', '--mode', 'development']), cores);
});
test('a page without a bundler', async () => {
  await pages(await serve(path.join(folder, 'plain')), cores);
});
test('a page that is not isolated: one thread, the reason, and the same text', async () => {
  const status = await pages(await serve(path.join(folder, 'plain'), {}), 1);
  if (cores > 1) assert.match(status, /not cross-origin isolated/);
});
test('the page of an extension', async () => {
  const extension = path.join(folder, 'extension');
  // Installed packages are not part of what is published.
  fs.rmSync(path.join(extension, 'node_modules'), { recursive: true });
  const args = ['--headless=new', '--no-sandbox', `--disable-extensions-except=${extension}`, `--load-extension=${extension}`];
  const profile = path.join(folder, 'profile');
  const context = await chromium.launchPersistentContext(profile, { executablePath, args, ignoreDefaultArgs: ['--disable-extensions'] });
  try {
    const [worker] = [...context.serviceWorkers(), ...(context.serviceWorkers().length ? [] : [await context.waitForEvent('serviceworker')])];
    const address = new URL('page.html', worker.url()).href;
    for (const model of models) await page(context, address, model, cores);
  } finally {
    await context.close();
  }
});

test('the types are found and right, as bundlers and as Node look for them', async () => {
  const consumer = path.join(folder, 'node/consumer.ts');
  fs.writeFileSync(consumer, CONSUMER);
  const tsc = path.join(PACKAGE, 'node_modules/typescript/bin/tsc');
  const page = ['--lib', 'es2022,dom'];
  const server = ['--lib', 'es2022', '--typeRoots', path.join(PACKAGE, 'node_modules/@types'), '--types', 'node'];
  for (const options of [
    [...page, '--module', 'esnext', '--moduleResolution', 'bundler'],
    [...page, '--module', 'node16', '--moduleResolution', 'node16'],
    [...server, '--module', 'node16', '--moduleResolution', 'node16'],
  ]) {
    const args = [tsc, '--strict', '--noEmit', '--target', 'es2022', ...options, 'consumer.ts'];
    const result = await run(process.execPath, args, { cwd: path.dirname(consumer) }).catch((error) => error);
    assert.equal(result.code ?? 0, 0, `${options.join(' ')}: ${result.stdout}`);
  }
});

test('no code is made from text', () => {
  const dist = path.join(folder, 'node/node_modules/picolm/dist');
  const scripts = fs.readdirSync(dist, { recursive: true }).filter((name) => name.endsWith('.js'));
  assert.ok(scripts.length > 20);
  for (const name of scripts) assert.doesNotMatch(fs.readFileSync(path.join(dist, name), 'utf8'), /\beval\s*\(|\bFunction\s*\(|import\(\s*['"`]data:/, name);
});

const CONSUMER = `import { Engine, PicolmError, models, type EngineInfo, type ErrorCode } from 'picolm';

export async function ask(url: string, signal: AbortSignal): Promise<string> {
  const engine = await Engine.fromUrl(url, { threads: 'auto', progress: ({ loaded, total = 0 }) => console.log(loaded / total), signal });
  const info: EngineInfo = engine.info;
  let text: string = info.architecture;
  for await (const chunk of await engine.chat.completions.create({ messages: [{ role: 'user', content: 'Hi' }], stream: true })) {
    text += chunk.choices[0]?.delta.content ?? '';
  }
  const whole = await engine.completions.create({ prompt: text, max_tokens: 1 });
  interface Schema { type: string; minimum: number }
  const schema: Schema = { type: 'integer', minimum: 3 };
  await engine.completions.create({ prompt: text, response_format: { type: 'json_schema', json_schema: { name: 'age', schema } } });
  await engine.completions.create({ prompt: text, response_format: { type: 'regex', pattern: 'a+' } });
  await engine.completions.create({ prompt: text, json_schema: schema });
  // @ts-expect-error: no pattern
  await engine.completions.create({ prompt: text, response_format: { type: 'regex' } });
  // @ts-expect-error: a number is no prompt
  await engine.completions.create({ prompt: 1 }).catch((error: PicolmError): ErrorCode => error.code);
  // @ts-expect-error: a whole answer does not come in chunks
  for await (const chunk of whole) console.log(chunk);
  return whole.choices[0]?.text ?? (await models.list())[0]?.key ?? '';
}
`;

async function pack() {
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: PACKAGE });
  return path.join(folder, stdout.trim());
}

/** A copy of an example, with its tools and the tarball in the place of the package; built, if it is one to build. */
async function install(name, tarball) {
  const cwd = path.join(folder, name);
  fs.cpSync(path.join(PACKAGE, 'examples', name), cwd, { recursive: true });
  const manifest = JSON.parse(fs.readFileSync(path.join(cwd, 'package.json')));
  assert.ok(manifest.dependencies.picolm);
  manifest.dependencies.picolm = `file:${tarball}`;
  fs.writeFileSync(path.join(cwd, 'package.json'), JSON.stringify(manifest));
  await run('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', '--prefer-offline', '--loglevel=error'], { cwd });
  if (manifest.scripts?.build) await run('npm', ['run', 'build'], { cwd });
}

/** What the native binary answers. */
async function native(file) {
  const { stdout } = await run(process.env.PICOLM_BIN, [file, '--chat', '-p', PROMPT, '-t', '0', '-n', '64']);
  return stdout.replace(/\n$/, '');
}

const bin = (name, tool) => path.join(folder, name, 'node_modules/.bin', tool);
const cache = (name) => path.join(folder, `cache-${name}`);

/** The answer of a script to the prompt, for a model's path or URL. */
async function script(name, command, args, model) {
  const env = { ...process.env, XDG_CACHE_HOME: cache(name), NO_COLOR: '1' };
  const { stdout, stderr } = await run(command, [...args, model, PROMPT], { cwd: path.join(folder, name), env });
  assert.match(stdout, /\n$/);
  return { text: stdout.slice(0, -1), stderr };
}

async function scripts(name, command, args) {
  for (const { file, url, text } of models) {
    for (const model of [file, url]) {
      const answer = await script(name, command, args, model);
      assert.equal(answer.text, text, model);
      assert.match(answer.stderr, new RegExp(`, ${cores} thread`));
    }
  }
}

/** Asks the page of an app for all models. Returns the last status. */
async function pages(origin, threads) {
  let status;
  for (const model of models) {
    const context = await browser.newContext();
    try {
      status = await page(context, `${origin}/`, model, threads);
    } finally {
      await context.close();
    }
  }
  return status;
}

/** Asks one page, and sees to it that nothing but its own files and the model is requested. */
async function page(context, address, { url, text }, threads) {
  const requests = [];
  context.on('request', (request) => requests.push(request.url()));
  const page = await context.newPage();
  const failures = [];
  page.on('pageerror', (error) => failures.push(error.message));
  page.on('console', (message) => {
    // Development servers have no icon.
    if (message.type() === 'error' && !message.location().url.endsWith('/favicon.ico')) failures.push(message.text());
  });
  await page.goto(`${address}?${new URLSearchParams({ model: url, prompt: PROMPT })}`);
  const status = page.locator('p[role=status]');
  const ended = () => /thread\(s\)|^[a-z]+_[a-z_]+: |^undefined: /.test(document.querySelector('p[role=status]')?.textContent);
  await page.waitForFunction(ended, undefined, { timeout: 120_000 }).catch(() => {});
  const [answer, said] = [await page.locator('output').textContent(), await status.textContent()];
  assert.match(said, new RegExp(`, ${threads} thread\\(s\\)`), failures.join('\n'));
  assert.equal(answer, text);
  assert.deepEqual(failures, []);
  // Those of the worker are seen, or else this would prove nothing.
  assert.ok(requests.includes(url) && requests.some((request) => request.endsWith('.wasm')));
  const foreign = requests.filter((request) => request !== url && !request.startsWith(new URL('/', address).href));
  assert.deepEqual(foreign, []);
  await page.close();
  return said;
}

const ISOLATION = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

/** Serves a folder; returns its origin. */
async function serve(root, headers = ISOLATION) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/favicon.ico') return response.writeHead(204).end();
    const file = path.join(root, pathname.endsWith('/') ? `${pathname}index.html` : pathname);
    const body = file.startsWith(root + path.sep) && fs.existsSync(file) ? fs.readFileSync(file) : undefined;
    response.writeHead(body ? 200 : 404, { ...headers, 'content-type': TYPES[path.extname(file)] ?? 'text/plain' }).end(body);
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  open.add(() => (server.closeAllConnections(), server.close()));
  return `http://localhost:${server.address().port}`;
}

/** Starts the development server of an app; returns its origin. */
async function develop(name, [tool, ...args]) {
  const child = spawn(bin(name, tool), args, { cwd: path.join(folder, name), env: { ...process.env, NO_COLOR: '1' } });
  open.add(() => child.kill());
  let said = '';
  return new Promise((resolve, reject) => {
    const hear = (data) => {
      said += data;
      const origin = /http:\/\/localhost:\d+/.exec(said)?.[0];
      if (origin) resolve(origin);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('exit', () => reject(new Error(`${tool} ended: ${said}`)));
  });
}
