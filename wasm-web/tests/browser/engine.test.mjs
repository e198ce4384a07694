// The engine in Chromium: the same bits in all builds, aborts, memory, streaming, states. PICOLM_MODEL adds a real model.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { chromium } from 'playwright-core';
import { Engine } from '../../dist/node.js';
import { digests, golden, goldenPath, withTemplate } from './golden.mjs';
import { startServer } from './server.mjs';

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
function serve(name, data = golden(name)) {
  server.add(`/${name}`, { data });
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
    const nothing = await second.saveState();
    await second.loadState(state.slice());
    const again = await second.saveState();
    const loaded = await go(second, prompt + begun + ' and');
    const used = [second.info.contextUsed];
    state[state.length >> 1] ^= 1;
    const refused = await outcome(() => second.loadState(state));
    const kept = await second.saveState();
    const after = await go(second, prompt + begun + ' and');
    used.push(second.info.contextUsed);
    await second.loadState(nothing);
    state[state.length >> 1] ^= 1;
    return {
      ...{ straight: straight.choices, loaded: loaded.choices, after: after.choices, refused, used },
      cached: [loaded, after].map(({ usage }) => usage.prompt_tokens_details.cached_tokens),
      prompt: after.usage.prompt_tokens,
      same: String(again) === String(state),
      lengths: [nothing, state, kept].map(({ length }) => length),
      empty: second.info.contextUsed,
    };
  }, url);
  assert.deepEqual(texts.loaded, texts.straight);
  assert.deepEqual(texts.after, texts.straight);
  assert.ok(texts.same && texts.cached[0] > 0);
  // What was refused has cost the conversation nothing.
  assert.equal(texts.cached[1], texts.prompt - 1);
  assert.equal(texts.used[0], texts.used[1]);
  assert.ok(texts.lengths[0] < texts.lengths[1] && texts.lengths[1] < texts.lengths[2], texts.lengths);
  assert.equal(texts.empty, 0);
  assert.equal(texts.refused.code, 'invalid_state');
});

test('an answer that is aborted can be saved, and gone on with', async () => {
  const page = await openPage();
  const url = serve('llama-Q4_0.gguf');
  const result = await page.evaluate(async (url) => {
    const [first, second] = [await picolm.Engine.fromUrl(url), await picolm.Engine.fromUrl(url)];
    const request = { prompt: 'the quick brown fox', temperature: 0, max_tokens: 40, logit_bias: { 0: -100, 1: -100, 2: -100 } };
    const whole = await first.completions.create(request);
    const abort = new AbortController();
    const stopped = await outcome(async () => {
      let chunks = 0;
      const said = await first.completions.create({ ...request, logprobs: 0, stream: true, cache_prompt: false, signal: abort.signal });
      for await (const _ of said) if (++chunks === 5) abort.abort();
    });
    await second.loadState(await first.saveState());
    const held = second.info.contextUsed;
    const answers = [await first.completions.create(request), await second.completions.create(request)];
    return { whole, stopped, held, answers };
  }, url);
  assert.equal(result.stopped.code, 'aborted');
  const { prompt_tokens } = result.whole.usage;
  assert.ok(result.held >= prompt_tokens + 4 && result.held < prompt_tokens + 40, `${result.held}`);
  for (const { choices, usage } of result.answers) {
    assert.deepEqual(choices, result.whole.choices);
    assert.equal(usage.prompt_tokens_details.cached_tokens, prompt_tokens - 1);
  }
});

test('log-probabilities: of chats and of text, whole and in chunks', async () => {
  const page = await openPage();
  const url = serve('chat.gguf', withTemplate(golden('llama-Q4_0.gguf')));
  const result = await page.evaluate(async (url) => {
    const engine = await picolm.Engine.fromUrl(url);
    const collect = async (chunks) => {
      const all = [];
      for await (const { choices } of chunks) all.push(...choices);
      return all;
    };
    const options = { temperature: 0, max_tokens: 12 };
    const chat = { ...options, messages: [{ role: 'user', content: 'the quick' }], logprobs: true, top_logprobs: 3 };
    const text = { ...options, prompt: 'the quick', logprobs: 3 };
    return {
      chat: await engine.chat.completions.create(chat),
      chatChunks: await collect(await engine.chat.completions.create({ ...chat, stream: true })),
      text: await engine.completions.create(text),
      textChunks: await collect(await engine.completions.create({ ...text, stream: true })),
      alone: (await engine.completions.create({ ...text, logprobs: 0 })).choices[0].logprobs,
      without: (await engine.completions.create({ ...text, logprobs: null })).choices[0].logprobs,
      asTokens: await engine.completions.create({ ...text, prompt: [...(await engine.tokenize('the quick', { special: true, bos: true }))] }),
    };
  }, url);
  const [{ message, logprobs }] = result.chat.choices;
  assert.equal(logprobs.content.length, result.chat.usage.completion_tokens);
  const decoder = new TextDecoder();
  // A character that the limit cuts is left out.
  const said = decoder.decode(Uint8Array.from(logprobs.content.flatMap(({ bytes }) => bytes)), { stream: true });
  assert.ok(message.content.endsWith(said.trimStart()));
  for (const { id, token, logprob, bytes, top_logprobs } of logprobs.content) {
    assert.equal(top_logprobs.length, 3);
    // Without chance it is the best.
    assert.deepEqual(top_logprobs[0], { token, id, logprob, bytes });
    assert.ok(logprob < 0 && top_logprobs.every((other, i) => i === 0 || other.logprob <= top_logprobs[i - 1].logprob));
  }
  assert.deepEqual(result.chatChunks.flatMap((choice) => choice.logprobs?.content ?? []), logprobs.content);
  const older = result.text.choices[0].logprobs;
  assert.deepEqual(older.token_logprobs, logprobs.content.map(({ logprob }) => logprob));
  assert.deepEqual(older.tokens, logprobs.content.map(({ token }) => token));
  assert.deepEqual(older.top_logprobs[0], Object.fromEntries(logprobs.content[0].top_logprobs.map(({ token, logprob }) => [token, logprob])));
  assert.deepEqual(older.text_offset.slice(0, 2), [0, [...older.tokens[0]].length]);
  for (const list of ['tokens', 'token_logprobs', 'top_logprobs', 'text_offset']) {
    assert.deepEqual(result.textChunks.flatMap((choice) => choice.logprobs?.[list] ?? []), older[list], list);
  }
  assert.deepEqual(result.alone, { ...older, top_logprobs: older.tokens.map(() => ({})) });
  assert.equal(result.without, null);
  assert.deepEqual(result.asTokens.choices, result.text.choices);
});

test('embeddings: the same bits in all builds and in Node, of length 1, and the conversation is still there', async () => {
  const page = await openPage();
  const url = serve('llama-Q4_0.gguf');
  const texts = ['the quick brown fox', 'a lazy dog', 'the quick brown fox'];
  const inNode = await Engine.fromFile(goldenPath('llama-Q4_0.gguf'), { threads: 2 });
  const expected = (await inNode.embed(texts)).map((vector) => [...vector]);
  assert.deepEqual([...(await inNode.embed(texts[1]))[0]], expected[1]);
  await inNode.dispose();
  for (const vector of expected) assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-6);
  assert.deepEqual(expected[0], expected[2]);
  assert.notDeepEqual(expected[0], expected[1]);
  for (const simd of ['relaxed', 'simd128']) {
    for (const threads of [1, 2]) {
      const result = await page.evaluate(
        async ([url, texts, options]) => {
          const engine = await picolm.Engine.fromUrl(url, options);
          const ask = () => engine.completions.create({ prompt: 'to be or not to be', max_tokens: 4, temperature: 0 });
          const { usage } = await ask();
          const vectors = (await engine.embed(texts)).map((vector) => [...vector]);
          const [used, again] = [engine.info.contextUsed, await ask()];
          const refused = [await outcome(() => engine.embed([7])), await outcome(() => engine.embed('word '.repeat(9999)))];
          await engine.dispose();
          return { usage, vectors, used, cached: again.usage.prompt_tokens_details.cached_tokens, refused };
        },
        [url, texts, { simd, threads }],
      );
      assert.deepEqual(result.vectors, expected, `${simd}, ${threads} thread(s)`);
      assert.equal(result.cached, result.usage.prompt_tokens - 1);
      assert.ok(result.used >= result.usage.prompt_tokens);
      assert.deepEqual(result.refused.map(({ code }) => code), ['invalid_request', 'context_full']);
    }
  }
});

test('usage says what was cached, and what lookup proposed; lookup changes no answer', async () => {
  const page = await openPage();
  const url = serve('llama-Q4_0.gguf');
  const [plain, looked] = await page.evaluate(async (url) => {
    const engine = await picolm.Engine.fromUrl(url);
    const request = { prompt: 'a b c a b c a b c a b', temperature: 0, max_tokens: 60 };
    return [await engine.completions.create(request), await engine.completions.create({ ...request, lookup: 8 })];
  }, url);
  assert.deepEqual(looked.choices, plain.choices);
  const { prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details } = looked.usage;
  assert.equal(total_tokens, prompt_tokens + completion_tokens);
  assert.deepEqual(prompt_tokens_details, { cached_tokens: prompt_tokens - 1 });
  assert.deepEqual(plain.usage.completion_tokens_details, { accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 });
  const { accepted_prediction_tokens: right, rejected_prediction_tokens: wrong } = looked.usage.completion_tokens_details;
  assert.ok(right + wrong > 0 && right < completion_tokens, `${right} right, ${wrong} wrong`);
});

test('errors have a code, name the field, and say what to do', async () => {
  const page = await openPage();
  const url = serve('chat.gguf', withTemplate(golden('llama-Q4_0.gguf')));
  server.add('/no-model.gguf', { data: Buffer.from('this is not a model, but long enough to be asked for as one') });
  const results = await page.evaluate(async ([url, origin]) => {
    const engine = await picolm.Engine.fromUrl(url, { context: 32 });
    const ask = (options) => outcome(() => engine.completions.create({ prompt: 'a', max_tokens: 1, ...options }));
    const chat = (options) => outcome(() => engine.chat.completions.create({ messages: [{ role: 'user', content: 'a' }], max_tokens: 1, ...options }));
    const results = {
      option: await ask({ foo: 1 }),
      temperature: await ask({ temperature: -1 }),
      type: await ask({ top_k: 1.5 }),
      prompt: await ask({ prompt: 7 }),
      none: await ask({ prompt: undefined }),
      full: await ask({ prompt: 'word '.repeat(100) }),
      several: await ask({ n: 2 }),
      suffix: await ask({ suffix: 'b' }),
      bias: await ask({ logit_bias: { x: 1 } }),
      chat: await chat({ messages: [] }),
      role: await chat({ messages: [{ role: 'narrator', content: 'a' }] }),
      schema: await chat({ response_format: { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'integer', minimum: 3, maximum: 2 } } } }),
      tool: await chat({ tool_choice: 'required' }),
      top: await chat({ top_logprobs: 2 }),
      missing: await outcome(() => picolm.Engine.fromUrl(`${origin}/missing.gguf`)),
      broken: await outcome(() => picolm.Engine.fromUrl(`${origin}/no-model.gguf`)),
      context: await outcome(() => picolm.Engine.fromUrl(url, { context: 10 ** 9 })),
    };
    const nothing = { n: 1, stream: null, response_format: { type: 'text' }, user: 'me', temperature: null };
    const fine = [
      await ask({ ...nothing, best_of: 1, echo: false, suffix: '' }),
      await chat({ ...nothing, reasoning_effort: 'low', tools: [], tool_choice: 'auto', add_generation_prompt: true, chat_template_kwargs: {} }),
      await chat({ tool_choice: 'none' }),
    ];
    const digest = await engine.digest();
    await engine.dispose();
    return { ...results, disposed: await ask({}), fine, digest };
  }, [url, server.origin]);
  const { fine, digest, ...errors } = results;
  const found = Object.fromEntries(Object.entries(errors).map(([name, { code, details }]) => [name, details?.field ? [code, details.field] : code]));
  assert.deepEqual(found, {
    option: ['invalid_request', 'foo'],
    temperature: ['invalid_request', 'temperature'],
    type: ['invalid_request', 'top_k'],
    prompt: ['invalid_request', 'prompt'],
    none: ['invalid_request', 'prompt'],
    full: 'context_full',
    several: ['invalid_request', 'n'],
    suffix: ['invalid_request', 'suffix'],
    bias: ['invalid_request', 'logit_bias.x'],
    chat: ['invalid_request', 'messages'],
    role: ['invalid_request', 'messages[0].role'],
    schema: ['invalid_request', 'json_schema'],
    tool: ['invalid_request', 'tool_choice'],
    top: ['invalid_request', 'top_logprobs'],
    missing: 'model_not_found',
    broken: 'invalid_model',
    context: 'invalid_request',
    disposed: 'disposed',
  });
  for (const { message, details } of Object.values(errors)) if (details?.field) assert.ok(message.startsWith(details.field), message);
  assert.deepEqual(fine.map(({ code, message }) => code ?? message), [undefined, undefined, undefined]);
  // A digest has its length, whatever the context.
  assert.equal(digest, digests.f16['llama-Q4_0.gguf']);
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
  server.add('/file.gguf', { data: golden('llama-Q4_0.gguf') });
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
