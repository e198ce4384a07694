// Conversations: asked, stopped, regenerated, edited, branched, copied, searched, kept, exported and imported.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { launch, open, scripted, startSite } from './harness.mjs';

let server;
let browser;
before(async () => {
  server = await startSite();
  browser = await launch();
});
after(async () => {
  await browser.close();
  server.close();
});
afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

/** A page that answers with this text. */
async function chatting(text, options = {}) {
  const opened = await open(browser, server, { permissions: ['clipboard-read', 'clipboard-write'], ...options });
  await scripted(opened.page, { text, ...options });
  await opened.person.getModel();
  return opened;
}

const clipboard = (page) => page.evaluate(() => navigator.clipboard.readText());
const titles = (page) => page.locator('.list li > a > span').allTextContents();

test('first run: one model, its size, what will happen, one button; then an answer of the real engine', async () => {
  const { page, person, check } = await open(browser, server);
  const card = page.getByRole('region', { name: 'tiny' });
  await card.waitFor();
  assert.match(await card.textContent(), /549 kB.*MIT.*fetched once, from this site.*kept in this browser.*network off.*Download 549 kB/s);
  await person.getModel();
  await person.isAnswered('Hello, who are you?');
  await page.getByText(/tokens\/s · \d+ tokens/).waitFor();
  assert.deepEqual(await titles(page), ['Hello, who are you?']);
  assert.equal(await page.locator('article.assistant header').textContent(), 'tiny');
  check();
});

test('an answer comes in parts, with live figures, and can be stopped; what is written stays', async () => {
  const { page, person, check } = await chatting('word '.repeat(2000), { perSecond: 60 });
  await person.send('Tell me everything');
  await page.getByText(/\d+ tokens\/s · \d+ tokens/).waitFor();
  const some = await person.lastAnswer();
  await page.waitForFunction((length) => document.querySelector('pl-markdown.text').textContent.length > length, some.length);
  assert.match(await page.locator('.context').textContent(), /^\s*\d+ of [\d,]+\s*$/);
  await person.button('Stop').click();
  await person.answered();
  const stopped = await person.lastAnswer();
  assert.ok(stopped.length > some.length && stopped.length < 5000);
  await page.getByText('Stopped.').waitFor();
  await page.reload();
  assert.equal(await person.lastAnswer(), stopped);
  // Escape does the same.
  await person.ready();
  await scripted(page, { text: 'word '.repeat(2000), perSecond: 60 });
  await person.send('Again');
  await page.locator('.caret').waitFor();
  await page.keyboard.press('Escape');
  await person.answered();
  check();
});

test('regenerate and edit make branches, and all of them stay', async () => {
  const { page, person, check } = await chatting('first answer');
  await person.ask('question one');
  await scripted(page, { text: 'second answer' });
  await person.button('Another answer').click();
  await person.answered();
  assert.equal(await person.lastAnswer(), 'second answer');
  await page.getByText('2/2').waitFor();
  await person.button('Version before').click();
  assert.equal(await person.lastAnswer(), 'first answer');

  await scripted(page, { text: 'third answer' });
  await page.getByRole('article', { name: 'You' }).hover();
  await person.button('Edit').click();
  await page.getByRole('textbox', { name: 'Edit' }).fill('question two');
  await page.getByRole('textbox', { name: 'Edit' }).press('Enter');
  await person.answered();
  assert.equal(await person.lastAnswer(), 'third answer');
  assert.equal(await page.locator('.bubble').textContent(), 'question two');
  await page.reload();
  assert.equal(await person.lastAnswer(), 'third answer');
  await page.getByRole('article', { name: 'You' }).getByRole('button', { name: 'Version before' }).click();
  assert.equal(await page.locator('.bubble').textContent(), 'question one');
  assert.match(await person.lastAnswer(), /first|second/);
  check();
});

test('a new chat from a message; messages and conversations are deleted, and come back', async () => {
  const { page, person, check } = await chatting('an answer');
  await person.ask('one');
  await person.ask('two');
  await page.locator('article.assistant').first().hover();
  await page.locator('article.assistant').first().getByRole('button', { name: 'New chat from here' }).click();
  await page.waitForFunction(() => document.querySelectorAll('article').length === 2);
  assert.deepEqual(await titles(page), ['one (branch)', 'one']);

  await page.getByRole('article', { name: 'tiny' }).getByRole('button', { name: 'Delete' }).click();
  await page.waitForFunction(() => document.querySelectorAll('article').length === 1);
  await person.button('Undo').click();
  await page.waitForFunction(() => document.querySelectorAll('article').length === 2);

  await person.button('More for one (branch)').click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.list li').length === 1);
  await person.button('Undo').last().click();
  await page.waitForFunction(() => document.querySelectorAll('.list li').length === 2);
  await person.button('More for one (branch)').click({ force: true });
  await page.getByRole('menuitem', { name: 'Rename' }).click();
  await page.getByRole('textbox', { name: 'Rename' }).fill('renamed');
  await page.getByRole('textbox', { name: 'Rename' }).press('Enter');
  await page.waitForFunction(() => document.querySelector('.list').textContent.includes('renamed'));
  await page.reload();
  await page.getByRole('link', { name: 'renamed' }).click();
  await page.waitForFunction(() => document.querySelectorAll('article').length === 2);
  check();
});

test('another chat is opened while an answer is written: it goes on where it belongs', async () => {
  const { page, person, check } = await chatting('early');
  await person.ask('first chat');
  await person.button('New chat').click();
  await scripted(page, { text: 'word '.repeat(60), perSecond: 60 });
  await person.send('second chat');
  await page.locator('.caret').waitFor();
  await page.getByRole('link', { name: 'first chat' }).click();
  await page.getByText('An answer is being written in another chat.').waitFor();
  assert.equal(await person.lastAnswer(), 'early');
  await person.answered();
  assert.equal(await person.lastAnswer(), 'early');
  await page.getByRole('link', { name: 'second chat' }).click();
  await page.locator('.bubble', { hasText: 'second chat' }).waitFor();
  assert.equal(await person.lastAnswer(), 'word '.repeat(60).trim());
  // Deleted in the middle of an answer, it does not come back.
  await person.send('once more');
  await page.locator('.caret').waitFor();
  await person.button('More for second chat').click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.list li').length === 1);
  await person.answered();
  await page.reload();
  await page.getByRole('link', { name: 'first chat' }).waitFor();
  assert.deepEqual(await titles(page), ['first chat']);
  check();
});

const MARKDOWN = `# Title

Some **bold** text with \`code\`, a [link](https://example.org/) and <b onclick="alert(1)">HTML</b>.

![a picture](https://example.org/picture.png)

| a | b |
|---|--:|
| 1 | 2 |

\`\`\`python
def add(a, b):
    return a + b  # sum
\`\`\`

1. one
2. two

[bad](javascript:alert(1)) <script>alert(2)</script> <img src=x onerror=alert(3)>`;

test('Markdown with tables and coloured code; what a model writes is never code or a request', async () => {
  const { page, person, check } = await chatting(MARKDOWN);
  await person.ask('show me');
  const text = page.locator('pl-markdown.text');
  assert.equal(await text.locator('h1').textContent(), 'Title');
  assert.equal(await text.locator('td').last().textContent(), '2');
  await text.locator('.hljs-keyword').first().waitFor();
  assert.deepEqual(await text.locator('.hljs-keyword').allTextContents(), ['def', 'return']);
  assert.equal(await text.locator('script, img, [onclick], [onerror]').count(), 0);
  assert.deepEqual(await text.locator('a').evaluateAll((links) => links.map((a) => [a.textContent, a.getAttribute('href'), a.rel])), [
    ['link', 'https://example.org/', 'noopener noreferrer'],
    ['a picture', 'https://example.org/picture.png', 'noopener noreferrer'],
    ['bad', null, 'noopener noreferrer'],
  ]);
  assert.match(await text.textContent(), /<b onclick="alert\(1\)">HTML<\/b>/);
  await text.locator('.copy-code').click();
  assert.equal(await clipboard(page), 'def add(a, b):\n    return a + b  # sum');
  await page.getByRole('article', { name: 'tiny' }).getByRole('button', { name: 'Copy' }).last().click();
  assert.equal(await clipboard(page), MARKDOWN);
  check();
});

test('what grows block by block is what is rendered at once', async () => {
  const { page, person, check } = await chatting(`${MARKDOWN}\n\n- a\n- b\n\n  more of b\n- c\n\nSetext\n---\n\n> quote\n> more\n\n\`\`\`\nopen to the end`, { perSecond: 400 });
  await person.ask('grow');
  const html = () => page.locator('pl-markdown.text').evaluate((element) => element.innerHTML);
  await page.locator('.hljs-keyword').first().waitFor();
  const grown = await html();
  await page.reload();
  await page.locator('.hljs-keyword').first().waitFor();
  assert.equal(await html(), grown);
  check();
});

test('thinking is folded, and neither copied nor shown in the answer', async () => {
  const { page, person, check } = await chatting('<think>\nLet me see.\n</think>\n\nThe answer is 4.');
  assert.equal(await person.ask('2 + 2?'), 'The answer is 4.');
  const thoughts = page.getByText('Let me see.');
  assert.equal(await thoughts.isVisible(), false);
  await page.getByText('What it thought').click();
  assert.equal(await thoughts.isVisible(), true);
  await page.getByRole('article', { name: 'tiny' }).getByRole('button', { name: 'Copy' }).click();
  assert.equal(await clipboard(page), 'The answer is 4.');
  await person.set({ Thinking: 'shown' });
  await scripted(page, { text: 'Hmm.</think>Five.' });
  assert.equal(await person.ask('and 2 + 3?'), 'Five.');
  await page.getByText('Hmm.').waitFor();
  check();
});

test('search finds titles and messages', async () => {
  const { page, person, check } = await chatting('The capital of Mongolia is Ulaanbaatar.');
  await person.ask('a question about steppes');
  await person.button('New chat').click();
  await scripted(page, { text: 'Bananas are yellow.' });
  await person.ask('a question about fruit');
  await page.keyboard.press('Control+k');
  await page.keyboard.type('ULAANB');
  await page.waitForFunction(() => document.querySelectorAll('.list li').length === 1);
  assert.match(await page.locator('.list').textContent(), /steppes.*Mongolia is Ulaanbaatar/s);
  await page.getByRole('link', { name: /steppes/ }).click();
  await page.getByText('The capital of Mongolia is Ulaanbaatar.', { exact: true }).waitFor();
  await page.getByRole('searchbox').fill('fruit');
  await page.waitForFunction(() => document.querySelector('.list').textContent.includes('fruit'));
  await page.getByRole('searchbox').fill('nothing has this');
  await page.getByText('Nothing found.').waitFor();
  await page.getByRole('searchbox').press('Escape');
  assert.equal((await titles(page)).length, 2);
  check();
});

/** All conversations and messages, as the database has them. */
const everything = (page) =>
  page.evaluate(async () => {
    const open = indexedDB.open('picolm');
    await new Promise((resolve) => (open.onsuccess = resolve));
    const read = (store) =>
      new Promise((resolve) => {
        const all = open.result.transaction(store).objectStore(store).getAll();
        all.onsuccess = () => resolve(all.result);
      });
    const result = { conversations: await read('conversations'), messages: await read('messages') };
    open.result.close();
    return result;
  });

test('export, delete all, import: nothing is lost; Markdown is readable', async () => {
  const { page, person, check } = await chatting('eine Antwort ✓');
  await person.ask('Frage eins');
  await person.button('Another answer').click();
  await person.answered();
  await person.button('New chat').click();
  await person.ask('第二个问题');
  const before = await everything(page);
  assert.deepEqual([before.conversations.length, before.messages.length], [2, 5]);

  await person.button('Settings').click();
  const [file] = await Promise.all([page.waitForEvent('download'), person.button('Export all').click()]);
  assert.equal(file.suggestedFilename(), 'picolm-conversations.json');
  const exported = await file.path();
  await person.button('Delete all').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByText('0 conversations are kept').waitFor();
  assert.deepEqual(await everything(page), { conversations: [], messages: [] });

  await page.locator('#import').setInputFiles(exported);
  await page.getByText('2 conversations are kept').waitFor();
  assert.deepEqual(await everything(page), before);
  // The second time changes nothing.
  await page.locator('#import').setInputFiles(exported);
  await page.getByText('2 conversations were imported.').last().waitFor();
  assert.deepEqual(await everything(page), before);
  await page.keyboard.press('Escape');

  await page.getByRole('link', { name: 'Frage eins' }).click();
  await person.button('More for Frage eins').click();
  const [text] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: 'Export as Markdown' }).click()]);
  assert.equal(text.suggestedFilename(), 'Frage eins.md');
  assert.equal(fs.readFileSync(await text.path(), 'utf8'), '# Frage eins\n\n## You\n\nFrage eins\n\n## tiny\n\neine Antwort ✓\n');
  check();
});

test('files that are no export are refused by name, and nothing changes', async () => {
  const { page, person, check } = await open(browser, server);
  await person.button('Settings').click();
  const files = {
    'no JSON': ['not json', /no JSON/],
    'other JSON': ['{"a":1}', /no conversations of picolm/],
    newer: ['{"format":"picolm-conversations","version":2,"conversations":[]}', /version 2/],
    broken: ['{"format":"picolm-conversations","version":1,"conversations":[{"id":"a","title":"t","created":1,"updated":1,"head":null,"messages":[{"id":1}]}]}', /Conversation 1 .* damaged/],
  };
  for (const [name, [content, said]] of Object.entries(files)) {
    await page.locator('#import').setInputFiles({ name: 'a.json', mimeType: 'application/json', buffer: Buffer.from(content) });
    await page.getByRole('alert').filter({ hasText: said }).waitFor({ timeout: 5000 }).catch(() => assert.fail(name));
  }
  assert.deepEqual(await everything(page), { conversations: [], messages: [] });
  check();
});

test('settings hold: instructions and sampling reach the model, the same seed gives the same answer', async () => {
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  await person.set({ Seed: 7, 'Longest answer': 12, 'Instructions for the model': 'be brief' });
  const first = await person.ask('hello');
  await page.reload();
  await person.ready();
  await person.button('New chat').click();
  assert.equal(await person.ask('hello'), first);
  await page.getByText('longest answer').first().waitFor();
  await person.set({ Seed: 8 });
  await person.button('New chat').click();
  assert.notEqual(await person.ask('hello'), first);
  await person.button('Settings').click();
  assert.equal(await page.getByLabel('Instructions for the model').inputValue(), 'be brief');
  // What is out of bounds is moved inside.
  await page.getByLabel('Temperature', { exact: true }).fill('99');
  await page.getByLabel('Temperature', { exact: true }).dispatchEvent('change');
  assert.equal(await page.getByLabel('Temperature', { exact: true }).inputValue(), '2');
  check();
});

test('a killed tab keeps what was written of an answer', async () => {
  const { context, page, person } = await chatting('word '.repeat(5000), { perSecond: 100 });
  await person.send('long');
  await page.waitForFunction(() => document.querySelector('pl-markdown.text')?.textContent.length > 1200, undefined, { timeout: 20_000 });
  const address = page.url();
  await page.close();
  const again = await context.newPage();
  await again.goto(address);
  await again.getByText('Stopped.').waitFor();
  const kept = await again.locator('pl-markdown.text').textContent();
  assert.ok(kept.length > 300, `${kept.length} characters`);
});
