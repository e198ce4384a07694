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

/** First run, an answer, and a text with all that the sanitiser, MathML and tables have to do. Runs in the page. */
async function walk(text) {
  const until = async (found) => {
    for (;;) {
      const value = found();
      if (value) return value;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const steps = (await until(() => document.querySelector('.steps'))).innerText;
  (await until(() => document.querySelector('.suggestion .primary'))).click();
  await until(() => document.querySelector('.dot.ready'));
  const field = document.querySelector('#prompt');
  field.value = 'hello';
  field.dispatchEvent(new Event('input', { bubbles: true }));
  field.form.requestSubmit();
  const stats = await until(() => document.querySelector('article.assistant .stats')?.innerText);
  const view = document.createElement('pl-markdown');
  document.querySelector('.thread').append(view);
  view.show(text, false);
  await until(() => view.querySelector('math'));
  return {
    steps,
    stats,
    starts: [...view.querySelectorAll('ol')].map(({ start }) => start),
    cells: [...view.querySelectorAll('td')].map((cell) => getComputedStyle(cell).textAlign.replace('-moz-', '')),
    link: view.querySelector('a').href,
    keptIn: document.querySelector('#engine-info').innerText || document.querySelector('#engine-info').textContent,
  };
}

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
      const seen = await firefox.evaluate(walk.toString(), TEXT);
      assert.match(seen.steps, said);
      assert.match(seen.stats, /tokens\/s · \d+ tokens/);
      assert.deepEqual([seen.starts, seen.cells, seen.link], [[1, 2], ['center', 'right'], 'http://www.example.org/']);
      assert.match(seen.keptIn, keptIn);
    } finally {
      await firefox.quit();
      fs.rmSync(profile, { recursive: true, force: true });
    }
  });
}
