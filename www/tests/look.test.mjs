// For everybody: screen readers (axe-core), the keyboard alone, phones, contrast, tap targets, languages.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { devices } from 'playwright-core';
import { launch, open, scripted, startSite, suggestion, tiny, words } from './harness.mjs';

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ANSWER = '# Title\n\nText with a [link](https://example.org/) and `code`.\n\n```python\ndef f(x):\n    return 1  # one\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quote';

let server;
let browser;
before(async () => {
  server = await startSite({ models: [suggestion('tiny', tiny()), suggestion('other', tiny('qwen3-Q8_0.gguf')), suggestion('broken', Buffer.alloc(100, 'x'))] });
  browser = await launch();
});
after(async () => {
  await browser.close();
  server.close();
});
afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

/** What axe-core finds, contrast and the size of targets included. */
async function axe(page, where) {
  // Nothing half faded in.
  await page.evaluate(() => Promise.all(document.getAnimations().filter(({ effect }) => effect.getComputedTiming().iterations === 1).map(({ finished }) => finished.catch(() => {}))));
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { rules: { 'target-size': { enabled: true } }, resultTypes: ['violations'] }));
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n  ')}`);
  assert.deepEqual(found, [], where);
}

/** Goes through all states of the page. */
async function states(page, person, see) {
  const dialogs = async (button, name) => {
    if (await page.getByRole('button', { name: 'Open the list of conversations' }).isVisible()) await person.button('Open the list of conversations').click();
    await page.locator('pl-sidebar footer').getByRole('button', { name: button, exact: true }).click();
    await page.getByRole('dialog', { name }).waitFor();
    await see(name);
    await page.keyboard.press('Escape');
  };
  await page.getByRole('region', { name: 'tiny' }).waitFor();
  await see('first run');
  await scripted(page, { text: ANSWER });
  await person.getModel();
  await page.getByText('What shall we talk about?').waitFor();
  await see('empty');
  await page.getByTitle('What the engine runs on').click();
  await see('what it runs on');
  await page.keyboard.press('Escape');
  await person.prompt.fill('a question');
  await person.button('Send').click();
  await person.answered();
  await person.another();
  await page.locator('.hljs-keyword').first().waitFor();
  await see('conversation');
  await dialogs('Settings', 'Settings');
  await dialogs('Models', 'Models');
  await page.keyboard.press('Control+/');
  await page.getByRole('dialog', { name: 'Keys' }).waitFor();
  await see('keys');
  await page.keyboard.press('Escape');
  await page.evaluate(() => {
    const data = new DataTransfer();
    data.items.add(new File(['no model at all'], 'photo.gguf'));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
  });
  await page.getByRole('alert').waitFor();
  await see('error');
}

for (const colorScheme of ['light', 'dark']) {
  test(`axe-core finds nothing in any state, ${colorScheme}`, async () => {
    const { page, person, check } = await open(browser, server, { colorScheme });
    await states(page, person, (where) => axe(page, where));
    check();
  });
}

test('a phone: axe-core finds nothing, nothing is wider than the screen, targets are large enough for thumbs', async () => {
  const { page, person, check } = await open(browser, server, devices['Pixel 7']);
  await states(page, person, async (where) => {
    await axe(page, where);
    const wide = await page.locator('main :visible:not(.table *, pre *), dialog :visible').evaluateAll((elements) =>
      elements.filter((element) => element.getBoundingClientRect().right > innerWidth + 1).map(({ outerHTML }) => outerHTML.slice(0, 100)),
    );
    assert.deepEqual(wide, [], `${where}: wider than the screen`);
    const targets = await page.locator('button:visible, select:visible, summary:visible, .list a:visible, input:not([type=file]):visible').evaluateAll((elements) =>
      elements.map((element) => [element.ariaLabel || element.textContent.trim() || element.id, element.getBoundingClientRect().height]).filter(([, height]) => height > 0 && height < 40),
    );
    assert.deepEqual(targets, [], where);
  });
  check();
});

test('a phone: Enter of the on-screen keyboard makes a line, the button sends; the drawer opens and closes', async () => {
  const { page, person, check } = await open(browser, server, devices['Pixel 7']);
  await scripted(page, { text: 'fine' });
  await person.getModel();
  assert.equal(await person.prompt.getAttribute('enterkeyhint'), 'enter');
  await person.prompt.tap();
  await page.keyboard.type('one');
  await page.keyboard.press('Enter');
  await page.keyboard.type('two');
  assert.equal(await person.prompt.inputValue(), 'one\ntwo');
  await person.button('Send').tap();
  await person.answered();
  assert.equal(await page.locator('.bubble').textContent(), 'one\ntwo');
  // The keyboard takes half of the screen: the field is still in it.
  await page.setViewportSize({ width: 412, height: 420 });
  const { y, height } = await person.prompt.boundingBox();
  assert.ok(y >= 0 && y + height <= 420);
  await person.button('Open the list of conversations').tap();
  await page.getByRole('link', { name: 'one' }).tap();
  await page.waitForFunction(() => getComputedStyle(document.querySelector('pl-sidebar')).visibility === 'hidden');
  check();
});

test('with a keyboard, Enter sends, Shift+Enter makes a line, and input methods keep their Enter', async () => {
  const { page, person, check } = await open(browser, server);
  await scripted(page, { text: 'fine' });
  await person.getModel();
  await person.prompt.focus();
  await page.keyboard.type('one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  await person.prompt.evaluate((field) => field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true })));
  assert.equal(await person.prompt.inputValue(), 'one\ntwo');
  await page.keyboard.press('Enter');
  await person.answered();
  assert.equal(await page.locator('.bubble').textContent(), 'one\ntwo');
  check();
});

test('the keyboard alone: first run, chat, stop, edit, another answer, list, menu, settings, models', async () => {
  const { page, person, check } = await open(browser, server);
  await scripted(page, { text: words(400), perSecond: 60 });
  await page.getByRole('region', { name: 'tiny' }).waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.ariaLabel || document.activeElement?.textContent.trim() || document.activeElement?.id);
  /** Presses Tab until this has the focus. */
  const tabTo = async (name, key = 'Tab') => {
    for (let presses = 0; presses < 60; presses++) {
      if (name.test(await focused())) return;
      await page.keyboard.press(key);
    }
    assert.fail(`${name} cannot be reached`);
  };
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'Skip to the message field');
  await tabTo(/^Download/);
  await page.keyboard.press('Enter');
  await person.ready();
  await tabTo(/^Write a message/);
  await page.keyboard.type('hello');
  await page.keyboard.press('Enter');
  await page.locator('.caret').waitFor();
  await page.keyboard.press('Escape');
  await person.answered();
  await page.getByText('Stopped.').waitFor();
  await page.evaluate(() => (globalThis.script.parts = ['short ', 'answer']));
  // An empty field: the last message is edited.
  await page.locator('#prompt').focus();
  await page.keyboard.press('ArrowUp');
  await page.getByRole('textbox', { name: 'Edit' }).waitFor();
  await page.keyboard.type(' again');
  await page.keyboard.press('Enter');
  await person.answered();
  assert.equal(await page.locator('.bubble').textContent(), 'hello again');
  await tabTo(/^Another answer$/, 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.getByText('2/2').last().waitFor();
  await person.answered();

  await page.keyboard.press('Alt+n');
  await page.waitForFunction(() => document.activeElement.id === 'prompt');
  await page.keyboard.type('another');
  await page.keyboard.press('Enter');
  await page.locator('.bubble', { hasText: 'another' }).waitFor();
  await person.answered();
  await page.keyboard.press('Control+k');
  await page.keyboard.press('ArrowDown');
  assert.match(await focused(), /^another/);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.locator('.bubble', { hasText: 'hello again' }).waitFor();
  await page.keyboard.press('ArrowRight');
  assert.match(await focused(), /^More for hello/);
  await page.keyboard.press('Enter');
  assert.equal(await focused(), 'Rename');
  await page.keyboard.press('ArrowUp');
  assert.equal(await focused(), 'Delete');
  await page.keyboard.press('Escape');
  assert.match(await focused(), /^More for hello/);

  await page.keyboard.press('Alt+s');
  await page.getByRole('dialog', { name: 'Settings' }).waitFor();
  await tabTo(/As in the system/);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.waitForFunction(() => document.documentElement.dataset.theme === 'dark');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.match(await focused(), /^More for hello/, 'the focus is back');
  await page.keyboard.press('Alt+m');
  await page.getByRole('dialog', { name: 'Models' }).waitFor();
  await tabTo(/^Verify$/);
  await page.keyboard.press('Enter');
  await page.getByText('every byte is as it came').waitFor();
  check();
});

test('Vietnamese and Chinese: by the browser’s language or by choice; everything is translated', async () => {
  const titles = { 'vi-VN': 'Mô hình ngôn ngữ của riêng bạn', 'zh-CN': '属于你自己的语言模型' };
  for (const [locale, title] of Object.entries(titles)) {
    const { context, page, check } = await open(browser, server, { locale });
    await page.getByRole('heading', { name: title }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), locale === 'zh-CN' ? 'zh-Hans' : 'vi');
    await page.locator('pl-sidebar footer button').last().click();
    await page.getByRole('dialog').waitFor();
    const text = await page.evaluate(() => document.querySelector('pl-app').innerText);
    assert.doesNotMatch(text, /Settings|Conversations|Search|Download|undefined|\{\w+\}/);
    await axe(page, locale);
    check();
    await context.close();
  }
  const { page, person, check } = await open(browser, server);
  await person.button('Settings').click();
  await page.getByLabel('Language').selectOption('zh');
  await page.getByRole('heading', { name: '设置' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: titles['zh-CN'] }).waitFor();
  check();
});

test('looks: themes and the size of text hold', async () => {
  const { page, person, check } = await open(browser, server);
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await person.set({ Colours: 'dark', 'Size of text': 20 });
  const dark = await background();
  assert.notEqual(dark, light);
  await page.reload();
  await page.getByRole('region', { name: 'tiny' }).waitFor();
  assert.equal(await background(), dark);
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('#prompt')).fontSize), '20px');
  check();
});

test('a class that is not for all components is used in one only', () => {
  const folder = path.resolve(import.meta.dirname, '../src');
  const read = (name) => fs.readFileSync(path.join(folder, name), 'utf8');
  const general = new Set(['base', 'controls'].flatMap((name) => [...read(`styles/${name}.css`).matchAll(/\.([a-z][\w-]*)/g)].map(([, found]) => found)));
  const users = new Map();
  for (const file of ['components', 'markdown'].flatMap((part) => fs.readdirSync(path.join(folder, part)).map((name) => `${part}/${name}`))) {
    for (const [, literal, computed] of read(file).matchAll(/class(?:Name)?=(?:"([^"]*)"|\$\{([^}]*)\})/g)) {
      const words = literal === undefined ? [...computed.matchAll(/'([^']*)'/g)].map(([, text]) => text).join(' ') : literal.replace(/\$\{[^}]*\}/g, '');
      for (const name of words.split(/\s+/).filter(Boolean)) users.set(name, (users.get(name) ?? new Set()).add(file));
    }
  }
  assert.ok(users.size > 50);
  const shared = [...users].filter(([name, files]) => files.size > 1 && !general.has(name)).map(([name, files]) => `${name}: ${[...files].join(', ')}`);
  assert.deepEqual(shared, []);
});
