// Conversations: asked, stopped, regenerated, edited, branched, copied, searched, kept, exported and imported.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { launch, open, scripted, startSite, words } from './harness.mjs';

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
  const { page, person, check } = await chatting(words(2000), { perSecond: 60 });
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
  await person.reload();
  assert.equal(await person.lastAnswer(), stopped);
  // Escape does the same.
  await person.ready();
  await scripted(page, { text: words(2000), perSecond: 60 });
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
  await person.another();
  assert.equal(await person.lastAnswer(), 'second answer');
  await person.button('Version before').click();
  assert.equal(await person.lastAnswer(), 'first answer');

  await scripted(page, { text: 'third answer' });
  await page.getByRole('article', { name: 'You' }).hover();
  await person.button('Edit').click();
  await page.getByRole('textbox', { name: 'Edit' }).fill('question two');
  await page.getByRole('textbox', { name: 'Edit' }).press('Enter');
  await page.locator('.bubble', { hasText: 'question two' }).waitFor();
  await person.answered();
  assert.equal(await person.lastAnswer(), 'third answer');
  await person.reload();
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
  await person.reload();
  await page.getByRole('link', { name: 'renamed' }).click();
  await page.waitForFunction(() => document.querySelectorAll('article').length === 2);
  check();
});

test('another chat is opened while an answer is written: it goes on where it belongs', async () => {
  const { page, person, check } = await chatting('early');
  await person.ask('first chat');
  await person.button('New chat').click();
  await scripted(page, { text: words(60), perSecond: 60 });
  await person.send('second chat');
  await page.locator('.caret').waitFor();
  await page.getByRole('link', { name: 'first chat' }).click();
  await page.getByText('An answer is being written in another chat.').waitFor();
  assert.equal(await person.lastAnswer(), 'early');
  await person.answered();
  assert.equal(await person.lastAnswer(), 'early');
  await page.getByRole('link', { name: 'second chat' }).click();
  await page.locator('.bubble', { hasText: 'second chat' }).waitFor();
  assert.equal(await person.lastAnswer(), words(60));
  // Deleted in the middle of an answer, it does not come back.
  await person.send('once more');
  await page.locator('.caret').waitFor();
  await person.button('More for second chat').click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.list li').length === 1);
  await person.answered();
  await person.reload();
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
  ]);
  assert.match(await text.textContent(), /\[bad\]\(javascript:/);
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
  await person.reload();
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
  await person.another();
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
  await person.reload();
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
  const { context, page, person } = await chatting(words(5000), { perSecond: 100 });
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

test('two tabs: each shows what the other writes, and one writes at a time', async () => {
  const { context, page, person, check } = await chatting('one answer');
  await person.ask('first');
  const other = await context.newPage();
  await other.goto(page.url());
  await other.locator('.bubble', { hasText: 'first' }).waitFor();
  await other.locator('.dot.ready').waitFor();
  await scripted(page, { text: words(400), perSecond: 100 });
  await person.send('second');
  await other.locator('.bubble', { hasText: 'second' }).waitFor();
  await other.locator('pl-composer').getByText('Another tab is writing in this conversation').waitFor();
  await other.getByRole('textbox', { name: 'Write a message' }).fill('third');
  await other.getByRole('textbox', { name: 'Write a message' }).press('Enter');
  await other.locator('.notice', { hasText: 'Another tab is writing' }).waitFor();
  assert.equal(await other.getByRole('textbox', { name: 'Write a message' }).inputValue(), 'third');
  assert.equal(await other.getByText('Stopped.').count(), 0, 'it is not stopped, it is written elsewhere');
  await person.button('Stop').click();
  await person.answered();
  await other.getByText('Stopped.').waitFor();
  assert.equal(await other.locator('article').count(), 4);
  await other.getByRole('textbox', { name: 'Write a message' }).press('Enter');
  await page.locator('.bubble', { hasText: 'third' }).waitFor();
  // A tab that dies gives the conversation back.
  await other.close();
  await page.locator('article.assistant').nth(2).waitFor();
  await page.getByText('Another tab is writing').first().waitFor({ state: 'detached' });
  await scripted(page, { text: 'the last answer' });
  assert.equal(await person.ask('fourth'), 'the last answer');
  await person.button('More for first').click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  check();
});

test('what was typed is there after a reload, for each conversation', async () => {
  const { page, person, check } = await chatting('fine');
  await person.ask('one');
  await person.prompt.fill('a draft of one');
  await person.button('New chat').click();
  assert.equal(await person.prompt.inputValue(), '');
  await person.prompt.fill('a draft of none');
  await person.reload();
  await person.ready();
  assert.equal(await person.prompt.inputValue(), 'a draft of none');
  await page.getByRole('link', { name: 'one' }).click();
  await page.waitForFunction(() => document.querySelector('#prompt').value === 'a draft of one');
  await scripted(page, { text: 'fine' });
  await person.prompt.press('Enter');
  await person.answered();
  await person.reload();
  await page.locator('.bubble', { hasText: 'a draft of one' }).waitFor();
  assert.equal(await person.prompt.inputValue(), '');
  await person.button('New chat').click();
  assert.equal(await person.prompt.inputValue(), 'a draft of none');
  check();
});

test('the field has the focus when the page is there, after sending, and after stopping', async () => {
  const { page, person, check } = await chatting(words(400), { perSecond: 60 });
  const focused = () => page.waitForFunction(() => document.activeElement?.id === 'prompt');
  await person.reload();
  await person.ready();
  await focused();
  await page.keyboard.type('hello');
  await person.button('Send').click();
  await page.locator('.caret').waitFor();
  await focused();
  await person.button('Stop').click();
  await person.answered();
  await focused();
  check();
});

test('following: only the user goes away from the end, and comes back to it', async () => {
  const { page, person, check } = await chatting(words(150).replaceAll(' ', ' is a line of an answer.\n\n'), { perSecond: 150, viewport: { width: 900, height: 600 } });
  /** At the end, once the frame has been drawn. */
  const follows = () => page.waitForFunction(() => (({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight < 2)(document.querySelector('.scroll')));
  const distance = () => page.locator('.scroll').evaluate(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight);
  const long = (lines) => page.waitForFunction((lines) => document.querySelectorAll('pl-markdown.text p').length > lines, lines);
  await person.send('hello');
  await long(40);
  // What the page or the browser does is not the user's going away.
  await page.locator('.scroll').evaluate((frame) => frame.scrollTo(0, 0));
  await long(60);
  await follows();
  await page.locator('.scroll').hover();
  await page.mouse.wheel(0, -400);
  await page.getByRole('button', { name: 'To the newest message' }).waitFor();
  await long(80);
  assert.ok((await distance()) > 300, 'the user is left alone');
  await page.getByRole('button', { name: 'To the newest message' }).click();
  await long(100);
  await follows();
  await page.mouse.wheel(0, -400);
  await page.getByRole('button', { name: 'To the newest message' }).waitFor();
  await person.answered();
  // A new message is looked at.
  await page.evaluate(() => Object.assign(globalThis.script, { dies: 3 }));
  await person.send('break down');
  const card = page.getByRole('alert').getByText('The engine broke down');
  await card.waitFor();
  await follows();
  assert.ok(await card.evaluate((element) => element.getBoundingClientRect().bottom < innerHeight));
  check();
});

test('a full context drops the oldest turns, whole, and says where; the instructions stay', async () => {
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  await person.set({ 'Longest answer': 8, 'Instructions for the model': 'be brief', Seed: 3 });
  const context = Number(/of (\d+)/.exec(await page.locator('.context').textContent())[1]);
  const line = page.getByText('Earlier messages are no longer read.');
  let turns = 0;
  for (; turns < 40 && (await line.count()) === 0; turns++) {
    if (turns > 0 && (await page.locator('.context meter').evaluate(({ value, high }) => value > high))) await page.getByText('Nearly full').waitFor();
    await person.isAnswered(`question number ${turns} with some more words to it`);
  }
  assert.ok(turns > 2 && turns < 40, `${turns} turns`);
  assert.equal(await line.count(), 1);
  // It stands before a question, and what is read fits.
  assert.equal(await line.evaluate((element) => element.nextElementSibling.querySelector('article').className), 'user');
  assert.ok((await page.locator('.context meter').evaluate(({ value }) => value)) < context);
  const place = () => page.locator('.bubble').evaluateAll((bubbles) => bubbles.findIndex((bubble) => bubble.closest('pl-message').previousElementSibling?.className === 'unread'));
  const before = await place();
  await person.isAnswered('one more');
  assert.equal(await place(), before, 'it stays while there is room');
  await person.reload();
  await line.waitFor();
  await person.ready();
  await person.isAnswered('after a reload');
  // A book before the question is not in its way.
  await page.evaluate(async () => {
    const open = indexedDB.open('picolm');
    await new Promise((resolve) => (open.onsuccess = resolve));
    const change = open.result.transaction('messages', 'readwrite');
    const all = change.objectStore('messages').getAll();
    await new Promise((resolve) => (all.onsuccess = resolve));
    for (const message of all.result) if (message.parent === null) change.objectStore('messages').put({ ...message, content: 'book '.repeat(400_000), from: undefined });
    for (const message of all.result) if (message.from) change.objectStore('messages').put({ ...message, from: undefined });
    await new Promise((resolve) => (change.oncomplete = resolve));
    open.result.close();
  });
  await person.reload();
  await person.ready();
  await person.isAnswered('after a book');
  await line.waitFor();
  // A message that alone is too long is named.
  await person.ask('word '.repeat(2000));
  await page.locator('article.assistant').last().getByText('This message is longer than the context').waitFor();
  check();
});

test('an answer that was cut goes on where it ended, in the same message', async () => {
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  await person.set({ 'Longest answer': 12, Temperature: 0 });
  const part = await person.ask('tell me');
  const tokens = async () => Number(/(\d+) tokens$/.exec((await page.locator('.stats').last().textContent()).trim())[1]);
  assert.equal(await tokens(), 12);
  await person.button('Continue').click();
  await person.answered();
  const whole = await person.lastAnswer();
  assert.ok(whole.startsWith(part) && whole !== part, `${JSON.stringify(part)} of ${JSON.stringify(whole)}`);
  assert.ok((await tokens()) > 12);
  assert.equal(await page.locator('article').count(), 2);
  await person.reload();
  assert.equal(await person.lastAnswer(), whole);
  check();
});

test('long messages are folded; conversations with one title are told apart; one is not "1 conversations"', async () => {
  const { page, person, check } = await chatting('fine');
  await person.ask('line\n'.repeat(60));
  const height = () => page.locator('.bubble').evaluate((bubble) => bubble.clientHeight);
  const folded = await height();
  await person.button('Show all').click();
  assert.ok((await height()) > 3 * folded);
  await person.button('Show less').click();
  assert.equal(await height(), folded);
  await person.button('Settings').click();
  await page.getByText('One conversation is kept in this browser').waitFor();
  await page.keyboard.press('Escape');
  await person.button('New chat').click();
  await person.ask('line');
  const rows = await page.locator('.list li > a').allInnerTexts();
  assert.equal(rows.length, 2);
  for (const row of rows) assert.match(row, /^line\n+.*\d{4}, \d+:\d\d/);
  check();
});

test('right to left where the text is; directions that are not closed and piles of marks stay in their block', async () => {
  const zalgo = `H${'\u0335\u0300\u0301\u0302'.repeat(60)}i`;
  const { page, person, check } = await chatting(`مرحبا بالعالم\n\n- שלום\n\nplain\n\n\u202etfel ot thgir\n\nafter\n\n${zalgo}\n\nlast`);
  await person.ask('سلام');
  const looks = await page.evaluate(() => {
    const direction = (element) => getComputedStyle(element).direction;
    const last = [...document.querySelectorAll('pl-markdown.text p')].find(({ textContent }) => textContent === 'last');
    const pile = last.closest('.block').previousElementSibling;
    return {
      bubble: direction(document.querySelector('.bubble')),
      paragraphs: [...document.querySelectorAll('pl-markdown.text p')].slice(0, 2).map(direction),
      list: direction(document.querySelector('pl-markdown.text ul')),
      isolated: [...document.querySelectorAll('pl-markdown .block')].every((block) => getComputedStyle(block).unicodeBidi === 'isolate'),
      clipped: getComputedStyle(pile).overflow,
    };
  });
  assert.deepEqual(looks, { bubble: 'rtl', paragraphs: ['rtl', 'ltr'], list: 'rtl', isolated: true, clipped: 'clip' });
  check();
});

test('an answer that goes in circles is stopped, and the page says why; tables and lists are no circles', async () => {
  const sentence = 'It rains in the mountains, and the fox sleeps under the old tree until the morning. ';
  const { page, person, check } = await chatting(`Once upon a time. ${sentence.repeat(40)}`, { perSecond: 400 });
  const answer = await person.ask('Tell me a story');
  await page.getByText('It began to repeat itself, and was stopped.').waitFor();
  assert.ok(answer.length > 2 * sentence.length && answer.length < 5 * sentence.length, `${answer.length} characters`);
  await person.reload();
  await page.getByText('It began to repeat itself').waitFor();
  await person.ready();
  const table = `| a | b |\n|---|---|\n${Array.from({ length: 40 }, (_, n) => `| ${n} | - |\n`).join('')}\n${'-'.repeat(120)}\n\nThe end.`;
  await scripted(page, { text: table, perSecond: 400 });
  assert.match(await person.ask('a table'), /The end\.$/);
  assert.equal(await page.locator('article').last().getByText('repeat itself').count(), 0);
  check();
});
