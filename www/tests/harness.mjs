// What the tests of the page share: a server with the built page and models beside it, and browsers that report what goes wrong.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { startServer } from '../../wasm-web/tests/browser/server.mjs';

const ROOT = path.resolve(import.meta.dirname, '../..');
export const DIST = path.join(ROOT, 'www/dist');
export const GOLDEN = path.join(ROOT, 'core/tests/golden');
export const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** The default model, for the tests that want real answers. */
export const REAL = process.env.PICOLM_MODEL;

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
export const OPTIONS = { executablePath, headless: true, args: ARGS };

/** As `cargo xtask web` serves it. */
export const HEADERS = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

/** A small model with random weights, and a chat template. It says nonsense, quickly. */
export function tiny(name = 'llama-Q4_0.gguf', template = TEMPLATE) {
  return withTemplate(fs.readFileSync(path.join(GOLDEN, name)), template);
}
const TEMPLATE = '{% for message in messages %}{{ message.content }} {% endfor %}';

/** The same model, trained for as many tokens as this. */
export function trainedFor(gguf, tokens) {
  const [changed, key] = [Buffer.from(gguf), '.context_length'];
  changed.writeUInt32LE(tokens, changed.indexOf(key) + key.length + 4); // behind the type of the value
  return changed;
}

/** So many words, none of them twice: what repeats itself is stopped. */
export function words(count) {
  return Array.from({ length: count }, (_, n) => `w${n}`).join(' ');
}

/** Starts the server of a page, with this list of models and their files beside it. */
export async function startSite({ headers = HEADERS, models = [suggestion('tiny', tiny())] } = {}) {
  const server = await startServer({ site: DIST, headers });
  for (const { url, data } of models) if (data) server.add(`/${url}`, { data });
  const list = models.map(({ data: _, ...model }) => model);
  server.add('/models.json', { data: Buffer.from(JSON.stringify(list)) });
  return server;
}

/** An entry of models.json. */
export function suggestion(name, data, more = {}) {
  return { name, url: `models/${name}.gguf`, bytes: data.length, license: 'MIT', about: 'small', data, ...more };
}

/** Watches a context: errors of pages and requests to other origins fail the test that asks for `check`. */
export function watch(context, origin, { allowed = [] } = {}) {
  const [faults, foreign] = [[], []];
  context.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !/^(data|blob):/.test(url) && !allowed.some((prefix) => url.startsWith(prefix))) foreign.push(url);
  });
  context.on('weberror', (error) => faults.push(error.error().stack));
  context.on('console', (message) => {
    if (/Content Security Policy|TrustedScript|TrustedHTML/i.test(message.text())) faults.push(message.text());
  });
  return {
    check() {
      assert.deepEqual(foreign, [], 'requests to other origins');
      assert.deepEqual(faults, [], 'errors in the page');
    },
  };
}

/** What people do. Everything by role and name, as a screen reader would find it. */
export class Person {
  constructor(page) {
    this.page = page;
  }

  get prompt() {
    return this.page.getByRole('textbox', { name: 'Write a message' });
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true });
  }

  answers() {
    return this.page.locator('article.assistant');
  }

  async send(text) {
    await this.prompt.fill(text);
    await this.prompt.press('Enter');
  }

  /** Waits until no answer is being written any more. */
  async answered() {
    await this.page.locator('.round.primary').waitFor();
    await this.page.locator('article[aria-busy]').waitFor({ state: 'detached' });
  }

  async ask(text) {
    await this.send(text);
    await this.answered();
    return this.lastAnswer();
  }

  /** Has the last question answered once more. */
  async another() {
    await this.button('Another answer').click();
    // Until it begins, no answer is being written.
    await this.page.getByText('2/2').waitFor();
    await this.answered();
  }

  /** Asks the engine. What a model with random weights says does not matter, and may be nothing. */
  async isAnswered(text) {
    await this.ask(text);
    await this.isFine();
  }

  async isFine() {
    const last = this.answers().last();
    await last.locator('.stats').waitFor();
    assert.equal(await last.locator('.failure').count(), 0);
  }

  async lastAnswer() {
    return (await this.answers().last().locator('pl-markdown.text').textContent()).trim();
  }

  /** Loads the page again, once what it shows is in its database: a person is not that quick. */
  async reload() {
    await this.page.evaluate(async () => {
      const database = await new Promise((done, failed) => Object.assign(indexedDB.open('picolm'), { onsuccess: ({ target }) => done(target.result), onerror: failed }));
      // Transactions of one store wait for each other.
      await new Promise((done) => (database.transaction(['conversations', 'messages'], 'readwrite').oncomplete = done));
      database.close();
    });
    await this.page.reload();
  }

  /** First run: the one button, until the model is open. */
  async getModel() {
    await this.page.getByRole('button', { name: /^Download/ }).click();
    await this.page.locator('.dot.ready').waitFor({ timeout: 60_000 });
  }

  async ready() {
    await this.page.locator('.dot.ready').waitFor({ timeout: 60_000 });
  }

  /** Sets settings in their dialog: { 'Longest answer': 20 }. */
  async set(values) {
    await this.button('Settings').click();
    const dialog = this.page.getByRole('dialog', { name: 'Settings' });
    for (const [label, value] of Object.entries(values)) {
      const field = dialog.getByLabel(label, { exact: true });
      if ((await field.evaluate(({ tagName }) => tagName)) === 'SELECT') await field.selectOption(value);
      else {
        await field.fill(String(value));
        await field.dispatchEvent('change');
      }
    }
    await this.page.keyboard.press('Escape');
  }
}

/** Opens the page in a context of its own. */
export async function open(browser, server, options = {}) {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  context.setDefaultTimeout(10_000);
  const watched = watch(context, server.origin, options);
  const page = await context.newPage();
  await page.goto(`${server.origin}/`);
  return { context, page, person: new Person(page), ...watched };
}

/**
 * From now on the engine's worker answers with this text, at this pace, instead of what the model says: `await scripted(page, { text })`.
 * `dies`: it breaks down after so many parts. Everything else the real worker does.
 */
export async function scripted(target, { text, perSecond = 200, dies }) {
  const install = ({ text, perSecond, dies }) => {
    globalThis.script = { parts: text.match(/[^]{1,4}/gu) ?? [], perSecond, dies };
    if (globalThis.RealWorker) return;
    globalThis.RealWorker = Worker;
    globalThis.Worker = class extends RealWorker {
      postMessage(message, transfer) {
        if (message.call === 'generate' && globalThis.script) this.play(message.id, globalThis.script);
        else if (message.abort !== undefined && message.abort === this.playing) clearInterval(this.timer);
        else super.postMessage(message, transfer);
      }

      play(id, { parts, perSecond, dies }) {
        this.playing = id;
        const start = performance.now();
        let at = 0;
        const emit = (event) => this.onmessage({ data: { id, event } });
        emit({ prompt: { done: 20, of: 20 } });
        this.timer = setInterval(() => {
          const due = Math.min(parts.length, Math.floor(((performance.now() - start) * perSecond) / 1000));
          while (at < due) emit({ text: parts[at++], token: at, logprobs: null });
          if (dies !== undefined && at >= dies) {
            clearInterval(this.timer);
            return this.onerror({ message: 'RuntimeError: unreachable' });
          }
          if (at < parts.length) return;
          clearInterval(this.timer);
          const usage = { prompt_tokens: 20, completion_tokens: at, total_tokens: 20 + at, prompt_tokens_details: { cached_tokens: 0 } };
          const timings = { prompt_n: 20, prompt_ms: 10, prompt_per_second: 2000, predicted_n: at, predicted_ms: at, predicted_per_second: perSecond };
          emit({ finish_reason: 'stop', usage, timings });
          const info = { architecture: 'llama', backend: 'simd128', threads: 1, context: 4096, contextUsed: at };
          this.onmessage({ data: { id, result: { ...info, crossOriginIsolated, trainedContext: 4096, vocabulary: 1, layers: 1, chatTemplate: true, storage: 'opfs', streamed: false, fileBytes: 1, memoryBytes: 1, kvBytes: 1, bufferBytes: 1 } } });
        }, 5);
      }
    };
  };
  await target.addInitScript(install, { text, perSecond, dies });
  if (target.evaluate) await target.evaluate(install, { text, perSecond, dies });
}

export function launch(options = {}) {
  return chromium.launch({ ...OPTIONS, ...options });
}

/**
 * Puts a chat template into a model that has none. The entry goes before all others and is a multiple of 32 bytes, so that the
 * tensors behind stay aligned.
 */
function withTemplate(gguf, template) {
  const [key, typeString] = ['tokenizer.chat_template', 8];
  const fixed = 8 + key.length + 4 + 8;
  const text = template.replace(' ', ' '.repeat(1 + (-(fixed + template.length) & 31)));
  const entry = Buffer.alloc(fixed + text.length);
  entry.writeBigUInt64LE(BigInt(key.length), 0);
  entry.write(key, 8);
  entry.writeUInt32LE(typeString, 8 + key.length);
  entry.writeBigUInt64LE(BigInt(text.length), 12 + key.length);
  entry.write(text, fixed);
  const head = Buffer.from(gguf.subarray(0, 24)); // magic, version, tensors, entries
  head.writeBigUInt64LE(head.readBigUInt64LE(16) + 1n, 16);
  return Buffer.concat([head, entry, gguf.subarray(24)]);
}
