// The page in Firefox, which keeps files, and in its private windows, which keep none.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startFirefox } from '../../wasm-web/tests/browser/firefox.mjs';
import { startSite } from './harness.mjs';

let server;
before(async () => (server = await startSite()));
after(() => server.close());

/** Waits for what `found` finds. Runs in the page, in front of what uses it. */
async function until(found) {
  for (const start = Date.now(); ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const value = await found();
    if (value) return value;
    if (Date.now() - start > 60_000) throw new Error(`never seen: ${found}, in ${document.body.innerText}`);
  }
}

/** First run, and an answer, in the place of which the page finds another text when it is opened again. */
async function walk(text) {
  const steps = (await until(() => document.querySelector('.steps'))).innerText;
  (await until(() => document.querySelector('.suggestion .primary'))).click();
  await until(() => document.querySelector('.dot.ready'));
  const field = document.querySelector('#prompt');
  field.value = 'hello';
  field.dispatchEvent(new Event('input', { bubbles: true }));
  field.form.requestSubmit();
  const stats = await until(() => document.querySelector('article.assistant .stats')?.innerText);
  const info = document.querySelector('#engine-info');
  const done = (request) => new Promise((resolve, reject) => ((request.onsuccess = () => resolve(request.result)), (request.onerror = reject)));
  const database = await done(indexedDB.open('picolm'));
  const messages = () => database.transaction('messages', 'readwrite').objectStore('messages');
  const answer = await until(async () => (await done(messages().getAll())).find(({ role, stats }) => role === 'assistant' && stats));
  await done(messages().put({ ...answer, content: text, status: 'done' }));
  database.close();
  return { steps, stats, keptIn: info.innerText || info.textContent, url: location.href };
}

/** A text with all that the sanitiser, MathML and tables have to do. */
async function look() {
  await until(() => document.querySelector('article.assistant math'));
  const view = document.querySelector('article.assistant');
  return {
    starts: [...view.querySelectorAll('ol')].map(({ start }) => start),
    cells: [...view.querySelectorAll('td')].map((cell) => getComputedStyle(cell).textAlign.replace('-moz-', '')),
    link: view.querySelector('.text a').href,
  };
}

const inPage = (run) => `async (...given) => { ${until} ${run} return await ${run.name}(...given); }`;

const TEXT = '1. a\n\n```js\nlet a\n```\n\n2. b\n\n| a | b |\n|:-:|--:|\n| 1 | 2 |\n\n$x^2$ at www.example.org';

for (const [where, preferences, said, keptIn] of [
  ['Firefox', {}, /It is kept in this browser.*network off/s, /browser’s storage/],
  ['a private window of Firefox', { 'browser.privatebrowsing.autostart': true }, /kept until you close this tab/, /memory only/],
]) {
  test(`${where}: first run, what it promises, an answer, Markdown`, async () => {
    const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-firefox-'));
    const firefox = await startFirefox(profile, { 'intl.accept_languages': 'en', ...preferences });
    try {
      await firefox.goto(`${server.origin}/`);
      const first = await firefox.evaluate(inPage(walk), TEXT);
      assert.match(first.steps, said);
      assert.match(first.stats, /tokens\/s · \d+ tokens/);
      assert.match(first.keptIn, keptIn);
      await firefox.goto('about:blank');
      await firefox.goto(first.url);
      const seen = await firefox.evaluate(inPage(look));
      assert.deepEqual([seen.starts, seen.cells, seen.link], [[1, 2], ['center', 'right'], 'http://www.example.org/']);
    } finally {
      await firefox.quit();
      fs.rmSync(profile, { recursive: true, force: true });
    }
  });
}
