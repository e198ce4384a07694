// Schemas, regular expressions and grammars in Chromium: the same answers as in Node, and a module that is fetched when it is needed.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { Engine } from '../../dist/node.js';
import { FORMS, LARGE, PERSON, REFUSED } from '../grammar-requests.mjs';
import { golden, goldenPath } from './golden.mjs';
import { startServer } from './server.mjs';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const NAME = 'llama-Q4_0.gguf';

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await chromium.launch({ executablePath, headless: true, args: ['--no-sandbox'] });
});
after(async () => {
  await browser.close();
  server.close();
});
afterEach(async () => {
  server.files.clear();
  for (const context of browser.contexts()) await context.close();
});

/** A page, and how often it has asked for the module. */
async function openPage(where = 'isolated') {
  const context = await browser.newContext();
  const fetched = [];
  context.on('request', (request) => request.url().endsWith('/grammar.wasm') && fetched.push(request.url()));
  const page = await context.newPage();
  page.on('pageerror', (error) => assert.fail(error));
  await page.goto(`${server.origin}/${where}/engine.html`);
  await page.waitForFunction(() => globalThis.picolm);
  server.add(`/${NAME}`, { data: golden(NAME) });
  return { context, page, fetched, url: `${server.origin}/${NAME}` };
}

/** Asks a page for the answers to requests: texts, or errors. */
function ask(page, url, options, requests) {
  return page.evaluate(
    async ([url, options, requests]) => {
      const engine = await picolm.Engine.fromUrl(url, options);
      const said = [];
      for (const request of requests) {
        const { value, ...error } = await outcome(() => engine.completions.create(request));
        said.push(value ? value.choices : error);
      }
      await engine.dispose();
      return said;
    },
    [url, options, requests],
  );
}

test('the same answers as in Node, in all builds; the module is fetched once, and only if it is needed', async () => {
  const requests = FORMS.flatMap(([form]) => [0, 1].map((seed) => ({ prompt: 'the quick', seed, temperature: 1, max_tokens: 200, ...form })));
  requests.push(...LARGE.map((form) => ({ prompt: 'a', seed: 1, temperature: 1, max_tokens: 20, ...form })));
  const engine = await Engine.fromFile(goldenPath(NAME), { threads: 2 });
  const wanted = [];
  for (const request of requests) wanted.push((await engine.completions.create(request)).choices);
  await engine.dispose();
  for (const simd of ['relaxed', 'simd128']) {
    for (const threads of [1, 3]) {
      const { page, fetched, url } = await openPage();
      const others = [{}, { response_format: { type: 'json_object' } }, { response_format: { type: 'text' }, json_schema: null }, { grammar: '' }];
      await ask(page, url, { simd, threads }, others.map((more) => ({ prompt: 'the quick', max_tokens: 40, ...more })));
      assert.deepEqual(fetched, []);
      const found = await ask(page, url, { simd, threads }, requests);
      found.forEach((choices, i) => assert.deepEqual(choices, wanted[i], `${simd}, ${threads}: ${JSON.stringify(requests[i]).slice(0, 200)}`));
      assert.equal(fetched.length, 1);
      await page.context().close();
    }
  }
});

test('what cannot be kept to is refused by its field', async () => {
  const { page, url } = await openPage('plain');
  const found = await ask(page, url, {}, REFUSED.map(([form]) => ({ prompt: 'a', ...form })));
  found.forEach(({ code, message, details }, i) => {
    const [, field, says] = REFUSED[i];
    assert.deepEqual([code, details?.field], ['invalid_request', field], message);
    assert.ok(message.includes(says), message);
  });
});

test('a module that is not served, or cannot be reached, is an error of the request; the next one looks again', async () => {
  const { context, page, fetched, url } = await openPage();
  const failures = [(route) => route.fulfill({ status: 404 }), (route) => route.abort(), (route) => route.fulfill({ body: 'no module', contentType: 'application/wasm' })];
  await context.route('**/grammar.wasm', (route) => (failures.shift() ?? ((route) => route.continue()))(route));
  const request = { prompt: 'a', seed: 1, max_tokens: 200, json_schema: PERSON };
  const [missing, unreachable, broken, other, fine] = await ask(page, url, {}, [request, request, request, { prompt: 'a', max_tokens: 2 }, request]);
  for (const { code, message } of [missing, unreachable, broken]) assert.ok(code === 'module_unavailable' && /schemas and grammars/.test(message), `${code}: ${message}`);
  assert.match(missing.message, /grammar\.wasm is not served \(404\)/);
  assert.equal(other[0].finish_reason, 'length');
  assert.equal(JSON.parse(fine[0].text).kind, 'person');
  assert.equal(fetched.length, 4);
});
