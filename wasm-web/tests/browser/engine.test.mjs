// The engine in Chromium: the same bits in all builds, aborts, memory, streaming, states. PICOLM_MODEL adds a real model.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { startServer } from './server.mjs';

const CORE = path.resolve(import.meta.dirname, '../../../core/tests');
const digests = JSON.parse(fs.readFileSync(path.join(CORE, 'witness/digests.json'), 'utf8'));
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const options = { executablePath, headless: true, args: ['--no-sandbox'] };
const real = process.env.PICOLM_MODEL && fs.readFileSync(process.env.PICOLM_MODEL);

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

async function openPage(where = 'isolated') {
  const page = await (await browser.newContext()).newPage();
  page.on('console', (message) => console.log(`page: ${message.text()}`));
  page.on('pageerror', (error) => assert.fail(error));
  await page.goto(`${server.origin}/${where}/engine.html`);
  await page.waitForFunction(() => globalThis.picolm);
  return page;
}

/** Serves a golden model; returns its URL. */
function serve(name) {
  server.add(`/${name}`, { data: fs.readFileSync(path.join(CORE, 'golden', name)) });
  return `${server.origin}/${name}`;
}

/** The digest of a model, in the build that the options choose. */
function digest(page, url, options) {
  return page.evaluate(
    async ([url, options]) => {
      const engine = await picolm.Engine.fromUrl(url, options);
      const [digest, { backend, threads }] = [await engine.digest(), engine.info];
      await engine.dispose();
      return { digest, backend, threads };
    },
    [url, options],
  );
}

test('one digest over four builds and one to four threads, and it is the witness’s', async () => {
  const names = ['llama-Q4_0.gguf', 'llama-Q4_K_S.gguf', 'llama-Q8_0.gguf', 'llama-IQ4_XS.gguf', 'gemma3-F16.gguf', 'qwen3moe-Q8_0.gguf'];
  const page = await openPage();
  for (const name of names) {
    const url = serve(name);
    for (const [simd, backend] of [['relaxed', 'relaxed-simd'], ['simd128', 'simd128']]) {
      for (const threads of [1, 2, 3, 4]) {
        assert.deepEqual(await digest(page, url, { simd, threads }), { digest: digests.f16[name], backend, threads }, name);
      }
      const q8 = await digest(page, url, { simd, threads: 2, kv: 'q8_0' });
      assert.equal(q8.digest, digests.q8_0[name], name);
    }
  }
});

test('without isolation there is one thread, and info says why', async () => {
  const page = await openPage('plain');
  const url = serve('llama-Q4_0.gguf');
  const info = await page.evaluate(async (url) => (await picolm.Engine.fromUrl(url, { threads: 4 })).info, url);
  assert.equal(info.threads, 1);
  assert.equal(info.crossOriginIsolated, false);
  assert.match(info.threadsWhy, /Cross-Origin-Opener-Policy/);
});

test('a model that may not fit is read layer by layer, and says so; the bits are the same', async () => {
  const page = await openPage();
  for (const name of ['llama-Q4_0.gguf', 'qwen3moe-Q8_0.gguf']) {
    const url = serve(name);
    const result = await page.evaluate(async (url) => {
      const engine = await picolm.Engine.fromUrl(url, { maxMemory: 100_000 });
      return { digest: await engine.digest(), info: engine.info };
    }, url);
    assert.equal(result.info.streamed, true);
    assert.match(result.info.streamedWhy, /slower/);
    assert.equal(result.digest, digests.f16[name]);
  }
});

test('a state goes on as if it had never been saved, in another build too; a damaged one is refused', async () => {
  const page = await openPage();
  const url = serve('llama-Q4_0.gguf');
  const texts = await page.evaluate(async (url) => {
    const prompt = 'the quick brown fox';
    const go = (engine, prompt) => engine.completions.create({ prompt, temperature: 0.8, seed: 7, max_tokens: 12 });
    const first = await picolm.Engine.fromUrl(url, { simd: 'relaxed' });
    const begun = (await go(first, prompt)).choices[0].text;
    const state = await first.saveState();
    const straight = await go(first, prompt + begun + ' and');
    const second = await picolm.Engine.fromUrl(url, { simd: 'simd128', threads: 1 });
    await second.loadState(state.slice());
    const loaded = await go(second, prompt + begun + ' and');
    state[state.length >> 1] ^= 1;
    const refused = await outcome(() => second.loadState(state));
    const after = await go(second, prompt + begun + ' and');
    return { straight: straight.choices, loaded: loaded.choices, after: after.choices, cached: loaded.usage.prompt_tokens_details.cached_tokens, refused };
  }, url);
  assert.deepEqual(texts.loaded, texts.straight);
  assert.deepEqual(texts.after, texts.straight);
  assert.ok(texts.cached > 0);
  assert.equal(texts.refused.code, 'invalid_state');
});

test('errors have a code and say what to do', async () => {
  const page = await openPage();
  const url = serve('llama-Q4_0.gguf');
  server.add('/no-model.gguf', { data: Buffer.from('this is not a model, but long enough to be asked for as one') });
  const results = await page.evaluate(async ([url, origin]) => {
    const engine = await picolm.Engine.fromUrl(url, { context: 32 });
    const ask = (options) => outcome(() => engine.completions.create({ prompt: 'a', ...options }));
    const results = {
      option: await ask({ foo: 1 }),
      temperature: await ask({ temperature: -1 }),
      prompt: await ask({ prompt: 7 }),
      full: await ask({ prompt: 'word '.repeat(100) }),
      chat: await outcome(() => engine.chat.completions.create({ messages: [] })),
      missing: await outcome(() => picolm.Engine.fromUrl(`${origin}/missing.gguf`)),
      broken: await outcome(() => picolm.Engine.fromUrl(`${origin}/no-model.gguf`)),
      context: await outcome(() => picolm.Engine.fromUrl(url, { context: 10 ** 9 })),
    };
    await engine.dispose();
    return { ...results, disposed: await ask({}) };
  }, [url, server.origin]);
  const codes = Object.fromEntries(Object.entries(results).map(([name, { code }]) => [name, code]));
  assert.deepEqual(codes, {
    option: 'invalid_request',
    temperature: 'invalid_request',
    prompt: 'invalid_request',
    full: 'context_full',
    chat: 'invalid_request',
    missing: 'model_not_found',
    broken: 'invalid_model',
    context: 'invalid_request',
    disposed: 'disposed',
  });
  assert.match(results.option.message, /"foo"/);
});

test('estimate reads the header alone', async () => {
  const page = await openPage();
  const url = serve('llama-Q4_0.gguf');
  const estimate = await page.evaluate((url) => picolm.models.estimate(url, { context: 64 }), url);
  assert.equal(estimate.fits, 'yes');
  assert.equal(estimate.stored, false);
  assert.equal(estimate.header.architecture, 'llama');
  assert.equal(estimate.fileBytes, server.files.get('/llama-Q4_0.gguf').data.length);
});

test('a picked file is opened as it is', async () => {
  const page = await openPage();
  const data = fs.readFileSync(path.join(CORE, 'golden/llama-Q4_0.gguf'));
  server.add('/file.gguf', { data });
  const result = await page.evaluate(async (url) => {
    const blob = await (await fetch(url)).blob();
    const engine = await picolm.Engine.fromFile(new File([blob], 'mine.gguf'));
    return { digest: await engine.digest(), storage: engine.info.storage, models: await picolm.models.list() };
  }, `${server.origin}/file.gguf`);
  assert.deepEqual(result, { digest: digests.f16['llama-Q4_0.gguf'], storage: 'file', models: [] });
});

test('the real model: digest, answer, first token, aborts, memory given back', { skip: !real }, async () => {
  server.add('/real.gguf', { data: real });
  const page = await openPage();
  const url = `${server.origin}/real.gguf`;
  const messages = [{ role: 'user', content: 'What is the capital of France?' }];
  const answered = await page.evaluate(async ([url, messages]) => {
    globalThis.engine = await picolm.Engine.fromUrl(url, { context: 2048 });
    let text = '';
    for await (const chunk of await engine.chat.completions.create({ messages, stream: true, temperature: 0 })) {
      text += chunk.choices[0].delta.content ?? '';
    }
    return text;
  }, [url, messages]);
  assert.match(answered, /Paris/);

  const aborted = await page.evaluate(async (messages) => {
    const results = {};
    const ask = (signal, content, more) =>
      engine.chat.completions.create({ messages: [{ role: 'user', content }], stream: true, temperature: 0, signal, ...more });
    const drain = async (chunks, each = () => {}) => {
      for await (const chunk of chunks) each(chunk);
    };
    const long = 'The history of computing is long and rich. '.repeat(150);
    const inPrompt = new AbortController();
    results.prompt = await outcome(async () => {
      const promptProgress = (done, total) => done < total && inPrompt.abort();
      await drain(await ask(inPrompt.signal, long, { promptProgress }));
    });
    const inAnswer = new AbortController();
    let chunks = 0;
    results.answer = await outcome(async () => {
      await drain(await ask(inAnswer.signal, 'Tell me a long story.'), () => ++chunks === 5 && inAnswer.abort());
    });
    const before = new AbortController();
    before.abort();
    results.before = await outcome(async () => drain(await ask(before.signal, 'x')));
    // Whoever leaves the loop stops the answer; the next one comes at once.
    for await (const chunk of await ask(undefined, 'Tell me a long story.')) if (chunk.choices[0].delta.content) break;
    const next = await engine.chat.completions.create({ messages, temperature: 0 });
    return { ...results, next: next.choices[0].message.content };
  }, messages);
  for (const when of ['prompt', 'answer', 'before']) {
    assert.deepEqual([when, aborted[when].name, aborted[when].code], [when, 'AbortError', 'aborted']);
  }
  assert.equal(aborted.next, answered);

  const loading = await page.evaluate(async (url) => {
    const abort = new AbortController();
    const progress = ({ phase, loaded }) => phase === 'load' && loaded > 0 && abort.abort();
    return outcome(() => picolm.Engine.fromUrl(url, { signal: abort.signal, progress }));
  }, url);
  assert.deepEqual([loading.name, loading.code], ['AbortError', 'aborted']);
});
