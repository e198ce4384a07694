// Models: downloads that pause, die and resume; files; addresses; switching, verifying, deleting; and all that can go wrong.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { OPTIONS, Person, launch, open, scripted, startSite, suggestion, tiny, trainedFor, watch, words } from './harness.mjs';

const MiB = 1 << 20;
const small = tiny();
/** The same model with room behind its tensors, so that its download takes a while. */
const long = Buffer.concat([small, Buffer.alloc(40 * MiB)]);

let browser;
const servers = new Set();
before(async () => (browser = await launch()));
after(() => browser.close());
afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  for (const server of servers) server.close();
  servers.clear();
});

async function site(models, options) {
  const server = await startSite({ models, ...options });
  servers.add(server);
  return server;
}

const card = (page, name) => page.locator('pl-models .card', { hasText: name });
const dialog = (page) => page.getByRole('dialog', { name: 'Models' });
const usage = (page) => page.evaluate(async () => (await navigator.storage.estimate()).usage);
/** As much storage as this, from the browser's side. */
async function quota(context, page, server, bytes) {
  const session = await context.newCDPSession(page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: server.origin, quotaSize: bytes });
}

test('a download is paused, goes on, and brings each byte once', async () => {
  const server = await site([suggestion('long', long)]);
  const file = server.files.get('/models/long.gguf');
  file.rate = 2 * MiB;
  const { page, person, check } = await open(browser, server);
  await page.getByRole('button', { name: /^Download/ }).click();
  await page.getByText(/\/s · \d+:\d\d left/).waitFor();
  await page.waitForFunction(() => document.querySelector('progress').value > 9e6);
  await person.button('Pause').click();
  const go = page.getByRole('button', { name: /^Go on: .* to go/ });
  await go.waitFor();
  const sent = file.sent;
  file.rate = undefined;
  await page.reload();
  await go.click();
  await person.ready();
  assert.ok(file.sent - sent < long.length - 4 * MiB, `${file.sent - sent} bytes came after the pause`);
  await person.isAnswered('hello');
  check();
});

test('the browser is killed in the middle of a download: the next one goes on', async () => {
  const server = await site([suggestion('long', long)]);
  const file = server.files.get('/models/long.gguf');
  file.rate = 2 * MiB;
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-page-'));
  let second;
  try {
    const first = await chromium.launchPersistentContext(profile, OPTIONS);
    const page = first.pages()[0] ?? (await first.newPage());
    await page.goto(server.origin);
    await page.getByRole('button', { name: /^Download/ }).click();
    await page.waitForFunction(() => document.querySelector('progress')?.value > 30e6, undefined, { timeout: 20_000 });
    process.kill(processOf(profile), 'SIGKILL');
    await new Promise((resolve) => first.once('close', resolve));

    file.rate = undefined;
    const sent = file.sent;
    second = await chromium.launchPersistentContext(profile, OPTIONS);
    const { check } = watch(second, server.origin);
    const again = second.pages()[0] ?? (await second.newPage());
    const person = new Person(again);
    await again.goto(server.origin);
    await again.getByRole('button', { name: /^Go on: .* to go/ }).click();
    await person.ready();
    // At most 4 MiB of each of the 4 connections come twice.
    assert.ok(file.sent - sent <= long.length - 30e6 + 16 * MiB + 1, `${file.sent - sent} bytes came after the kill`);
    await person.isAnswered('hello');
    check();
  } finally {
    await second?.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
});

/** The browser's own process: the one that has the profile and is no part of another. */
function processOf(profile) {
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let words = [];
    try {
      words = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    } catch {}
    if (words.includes(`--user-data-dir=${profile}`) && !words.some((word) => word.startsWith('--type='))) return Number(pid);
  }
  throw new Error('the browser is not running');
}

test('a local file is opened by picking and by dropping, and asks the network for nothing', async () => {
  const server = await site([]);
  const { page, person, check } = await open(browser, server);
  await page.getByText('The list of models could not be fetched').waitFor();
  await page.locator('input[type=file]').first().setInputFiles({ name: 'mine.gguf', mimeType: '', buffer: small });
  await person.ready();
  await person.isAnswered('hello');
  assert.equal(await page.locator('article.assistant header').textContent(), 'mine');

  await page.evaluate(
    (bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], 'dropped.gguf'));
      for (const type of ['dragover', 'drop']) document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    },
    tiny('qwen3-Q8_0.gguf').toString('base64'),
  );
  await page.waitForFunction(() => document.querySelector('.model select').selectedOptions[0].textContent === 'dropped');
  await person.ready();
  await person.isAnswered('and you?');
  assert.equal(await page.locator('article.assistant header').last().textContent(), 'dropped');
  check();
});

test('a file that was picked and is not kept is named on the next visit; no message is taken; a copy is there', async () => {
  const server = await site([]);
  const { page, person, check } = await open(browser, server);
  await page.getByText('The list of models could not be fetched').waitFor();
  const pick = () => page.locator('input[type=file]').first().setInputFiles({ name: 'mine.gguf', mimeType: '', buffer: small });
  await pick();
  await person.ready();
  await page.getByText('The browser forgets mine').waitFor();
  await person.isAnswered('hello');
  await page.reload();
  await page.getByText('The browser has forgotten the file').waitFor();
  await person.send('are you there?');
  await dialog(page).waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await person.prompt.inputValue(), 'are you there?');
  assert.equal(await page.locator('article').count(), 2);

  await person.button('Models').click();
  await dialog(page).locator('input[type=file]').setInputFiles({ name: 'mine.gguf', mimeType: '', buffer: small });
  await person.ready();
  await page.locator('.notice').getByRole('button', { name: 'Keep a copy' }).click();
  await page.getByText('mine is kept in this browser now.').waitFor();
  await page.reload();
  await person.ready();
  assert.equal(await person.prompt.inputValue(), 'are you there?');
  await person.prompt.press('Enter');
  await person.answered();
  await person.isFine();
  await person.button('Models').click();
  assert.equal(await card(page, 'mine').count(), 1);
  await card(page, 'mine').getByRole('button', { name: 'Verify' }).click();
  await page.getByText('every byte is as it came').waitFor();
  check();
});

test('a file with a handle is found again, once the browser is allowed to read it', async () => {
  const server = await site([]);
  const { page, person, check } = await open(browser, server);
  // The browser's dialog cannot be used from here: a handle of its private file system stands for one of the device.
  const install = () => {
    globalThis.showOpenFilePicker = async () => {
      const root = await navigator.storage.getDirectory();
      return [await root.getFileHandle('mine.gguf')];
    };
    FileSystemHandle.prototype.queryPermission = async () => sessionStorage.getItem('permission') ?? 'granted';
    FileSystemHandle.prototype.requestPermission = async () => 'granted';
  };
  await page.addInitScript(install);
  await page.evaluate(install);
  await page.evaluate(
    async (bytes) => {
      const root = await navigator.storage.getDirectory();
      const writable = await (await root.getFileHandle('mine.gguf', { create: true })).createWritable();
      await writable.write(Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0)));
      await writable.close();
    },
    small.toString('base64'),
  );
  await person.button('Open a .gguf file').click();
  await person.ready();
  await page.reload();
  await person.ready();
  await person.isAnswered('still there?');
  await page.evaluate(() => sessionStorage.setItem('permission', 'prompt'));
  await page.reload();
  await page.getByText('The file is closed').waitFor();
  await page.evaluate(() => sessionStorage.setItem('permission', 'granted'));
  await person.button('Open it again').click();
  await person.ready();
  await person.isAnswered('and now?');
  check();
});

test('no storage: said before the download, and the model lives in memory until the tab is closed', async () => {
  const server = await site([suggestion('tiny', small), suggestion('other', tiny('qwen3-Q8_0.gguf'))]);
  const context = await browser.newContext({ locale: 'en-GB', serviceWorkers: 'block' });
  context.setDefaultTimeout(10_000);
  // As in a private window of Firefox: the worker of the engine is refused its files.
  await context.route(/\/assets\/browser-.*\.js$/, async (route) => {
    const response = await route.fetch();
    const refuse = "navigator.storage.getDirectory = () => Promise.reject(new DOMException('Security error', 'SecurityError'));";
    await route.fulfill({ response, body: `${refuse}${await response.text()}` });
  });
  const { check } = watch(context, server.origin);
  const page = await context.newPage();
  const person = new Person(page);
  await page.goto(`${server.origin}/`);
  await page.getByText('kept until you close this tab').waitFor();
  assert.equal(await page.getByText('network off').count(), 0);
  await person.getModel();
  await person.isAnswered('hello');
  await person.button('Models').click();
  await dialog(page).getByText('kept until you close this tab').waitFor();
  await card(page, 'other').getByRole('button', { name: 'Download' }).click();
  await page.waitForFunction(() => document.querySelector('.model select').selectedOptions[0].textContent === 'other');
  await page.keyboard.press('Escape');
  await person.ready();
  await person.isAnswered('and you?');
  // A download that fails leaves the one that works.
  server.files.get('/models/tiny.gguf').fault = () => ({ status: 404 });
  await person.button('Models').click();
  await card(page, 'tiny').getByRole('button', { name: 'Download' }).click();
  await page.keyboard.press('Escape');
  await page.getByText('tiny could not be opened').waitFor();
  await page.getByText('The model was not found').waitFor();
  await person.isAnswered('still there?');
  await page.reload();
  await person.button('New chat').click();
  await page.getByRole('button', { name: /^Download/ }).waitFor();
  check();
});

test('a file that is no model leaves the one that works open, and does not stay in the menu; a folder is named', async () => {
  const server = await site([suggestion('tiny', small)]);
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  const files = { photo: Buffer.alloc(5000, 7), damaged: Buffer.concat([small.subarray(0, 20_000), Buffer.alloc(100, 255)]) };
  for (const [name, buffer] of Object.entries(files)) {
    await person.button('Models').click();
    await dialog(page).locator('input[type=file]').setInputFiles({ name: `${name}.gguf`, mimeType: '', buffer });
    await page.getByText(`${name} could not be opened. The model before it is still there.`).waitFor();
    await page.getByRole('alert').getByText('This file is no model').waitFor();
    await person.ready();
    assert.deepEqual(await page.locator('.model option').allTextContents(), ['tiny', 'Manage models…']);
    await person.isAnswered(`after ${name}`);
  }
  await page.getByRole('alert').getByRole('button', { name: 'Close' }).click();
  await page.getByRole('alert').waitFor({ state: 'detached' });
  check();
});

test('models are switched in a chat: each answer has the name of its model; deleting one gives its space back', async () => {
  const server = await site([suggestion('one', small), suggestion('two', Buffer.concat([tiny('qwen2-Q8_0.gguf'), Buffer.alloc(12 * MiB)]))]);
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  await person.set({ 'Longest answer': 20 });
  await person.isAnswered('first');
  const before = await usage(page);
  await person.button('Models').click();
  await card(page, 'two').getByRole('button', { name: 'Download' }).click();
  await card(page, 'two').getByRole('button', { name: 'Use', exact: true }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('combobox', { name: 'Model' }).selectOption({ label: 'two' });
  await page.waitForFunction(() => document.querySelector('.dot.ready') && document.querySelector('.model select').selectedOptions[0].textContent === 'two');
  await person.isAnswered('second');
  assert.deepEqual(await page.locator('article.assistant header').allTextContents(), ['one', 'two']);

  await person.button('Models').click();
  await card(page, 'two').getByRole('button', { name: 'Verify' }).click();
  await page.getByText('every byte is as it came').waitFor();
  assert.ok((await usage(page)) - before > 12 * MiB);
  await card(page, 'two').getByRole('button', { name: 'Delete' }).click();
  await card(page, 'two').getByText(/This frees/).waitFor();
  await card(page, 'two').getByRole('button', { name: 'Delete' }).click();
  await card(page, 'two').getByRole('button', { name: 'Download' }).waitFor();
  assert.ok((await usage(page)) - before < MiB, 'the space is free again');
  await page.keyboard.press('Escape');
  await page.getByRole('combobox', { name: 'Model' }).selectOption({ label: 'one' });
  await person.ready();
  await person.isAnswered('third');
  check();
});

test('a context that is longer than the model was trained for becomes that one, and the page says so', async () => {
  const server = await site([suggestion('trained', trainedFor(small, 8192)), suggestion('short', small)]);
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  const context = () => page.locator('.context').textContent();
  assert.match(await context(), /of 4,096/);
  await person.button('Settings').click();
  await page.getByLabel('Context', { exact: true }).fill('16384');
  await page.getByLabel('Context', { exact: true }).dispatchEvent('change');
  await person.button('Open the model anew with these').click();
  await page.getByRole('dialog').getByText('trained for 8,192 tokens').waitFor();
  await page.locator('.notice', { hasText: 'trained for 8,192 tokens' }).waitFor();
  assert.match(await context(), /of 8,192/);
  await page.keyboard.press('Escape');
  await page.reload();
  await person.ready();
  assert.match(await context(), /of 8,192/);
  check();
});

test('any address: looked at before the download, also of another origin', async () => {
  const server = await site([]);
  server.add('/shared.gguf', { data: small });
  const { page, person, check } = await open(browser, server, { allowed: [`${server.other}/shared.gguf`] });
  await person.button('Models').click();
  const field = page.getByLabel('Address of a .gguf file');
  await field.fill(`${server.other}/shared.gguf`);
  await field.press('Enter');
  await dialog(page).getByText('It fits.').waitFor();
  assert.match(await page.locator('pl-add-model .card').textContent(), /549 kB.*parameters.*llama.*256 tokens of context/s);
  await dialog(page).getByRole('button', { name: /^Download 549 kB/ }).click();
  await dialog(page).getByRole('button', { name: 'Use', exact: true }).click();
  await person.ready();
  await person.isAnswered('hello');
  check();
});

test('addresses that are none are answered with what to type', async () => {
  const server = await site([]);
  const { page, person, check } = await open(browser, server, { allowed: ['https://huggingface.co/owner/repo/resolve/main/file.gguf'] });
  await page.context().route('https://huggingface.co/**', (route) => route.abort());
  await person.button('Models').click();
  const field = page.getByLabel('Address of a .gguf file');
  const said = { '': 'Type an address first', 'owner/repo': 'Name the file too', 'https://huggingface.co/owner/repo': 'Name the file too', 'a b': 'This is no address' };
  for (const [text, problem] of Object.entries(said)) {
    await field.fill(text);
    await field.press('Enter');
    await dialog(page).getByRole('alert').filter({ hasText: problem }).waitFor();
  }
  const asked = page.context().waitForEvent('request', { predicate: (request) => request.url().includes('huggingface.co') });
  await field.fill('owner/repo:file.gguf');
  await field.press('Enter');
  assert.equal((await asked).url(), 'https://huggingface.co/owner/repo/resolve/main/file.gguf');
  check();
});

test('the network: no permission, no such host, a page in place of a file, a host that forbids it', async () => {
  // Only pages that are not isolated can tell a host that forbids from one that is not there.
  const server = await site([], { headers: {} });
  server.add('/private.gguf', { data: small, fault: () => ({ status: 401 }) });
  server.add('/page.gguf', { data: Buffer.from('<html>'), fault: () => ({ headers: { 'content-type': 'text/html' } }) });
  server.add('/forbidding.gguf', { data: small, cors: false });
  const gone = await startSite();
  gone.close();
  const { page, person } = await open(browser, server, { serviceWorkers: 'block', allowed: [server.other, gone.origin] });
  await person.button('Models').click();
  const field = page.getByLabel('Address of a .gguf file');
  const said = async (url, title) => {
    await field.fill(url);
    await field.press('Enter');
    await dialog(page).getByRole('alert').filter({ hasText: title }).waitFor({ timeout: 20_000 });
  };
  await said(`${server.other}/private.gguf`, 'The server does not give you this model');
  await said(`${server.other}/page.gguf`, 'This address is a web page, not a model');
  await said(`${server.other}/forbidding.gguf`, 'The server does not allow this page to read the file');
  await said(`${gone.origin}/model.gguf`, 'The server is not reached');
});

test('what is no model, is missing, or is not what it should be: named, with a next step, and the page stays usable', async () => {
  const broken = Buffer.from('this is not a model, but long enough to be asked for as one');
  const models = [suggestion('broken', broken), suggestion('wrong', small, { sha256: '0'.repeat(64) }), { ...suggestion('missing', small), data: undefined }];
  const server = await site(models);
  const { page, person, check } = await open(browser, server);
  await page.getByRole('button', { name: /^Download/ }).click();
  await page.getByRole('alert').getByText('This file is no model').waitFor();
  await page.getByRole('alert').getByRole('button', { name: 'Choose a model' }).click();

  await card(page, 'wrong').getByRole('button', { name: 'Download' }).click();
  await card(page, 'wrong').getByText('The file is not what it should be').waitFor();
  await card(page, 'wrong').getByRole('button', { name: 'Close' }).click();
  await card(page, 'missing').getByRole('button', { name: 'Download' }).click();
  await card(page, 'missing').getByText('The model was not found').waitFor();

  await dialog(page).locator('input[type=file]').setInputFiles({ name: 'photo.gguf', mimeType: '', buffer: Buffer.alloc(5000, 7) });
  await page.getByRole('alert').getByText('This file is no model').waitFor();
  // Without a model no message is taken; it stays where it is.
  await person.send('hello');
  await dialog(page).waitFor();
  assert.equal(await person.prompt.inputValue(), 'hello');
  assert.equal(await page.locator('article').count(), 0);
  await dialog(page).locator('input[type=file]').setInputFiles({ name: 'good.gguf', mimeType: '', buffer: small });
  await person.ready();
  await person.prompt.press('Enter');
  await person.answered();
  await person.isFine();
  check();
});

test('too large: said before anything is downloaded', async () => {
  const huge = { length: 9e12, subarray: (start, end) => Buffer.concat([small.subarray(start, end), Buffer.alloc(Math.max(0, end - Math.max(start, small.length)))]) };
  const server = await site([{ ...suggestion('large', small), bytes: 9e12, data: undefined }]);
  server.add('/huge.gguf', { data: huge });
  const { page, person, check } = await open(browser, server);
  await page.getByText(/There is not enough room: it takes 9,000 GB/).waitFor();
  assert.ok(await page.getByRole('button', { name: /^Download/ }).isDisabled());
  await person.button('Models').click();
  const field = page.getByLabel('Address of a .gguf file');
  await field.fill(`${server.origin}/huge.gguf`);
  await field.press('Enter');
  await dialog(page).getByText('It does not run here.').waitFor();
  assert.equal(await dialog(page).getByRole('button', { name: /^Download 9/ }).count(), 0);
  assert.ok(server.files.get('/huge.gguf').sent < 8 * MiB);
  check();
});

test('the storage is full: said with figures, and it goes on once there is room', async () => {
  const server = await site([suggestion('long', long)]);
  const { context, page, person, check } = await open(browser, server);
  server.files.get('/models/long.gguf').rate = 4 * MiB;
  await page.getByRole('button', { name: /^Download/ }).click();
  await page.waitForFunction(() => document.querySelector('progress')?.value > 3e6);
  await quota(context, page, server, 12 * MiB);
  await page.getByText('There is not enough storage').waitFor({ timeout: 30_000 });
  await page.getByRole('alert').getByText(/^[\d.]+ MB used, [\d.]+ .?B free$/).waitFor();
  await quota(context, page, server, 1e9);
  await person.button('Close').last().click();
  server.files.get('/models/long.gguf').rate = undefined;
  await page.getByRole('button', { name: /^(Download|Go on)/ }).click();
  await person.ready();
  check();
});

test('the browser has thrown the model away: the conversations are there, and one button brings it back', async () => {
  const server = await site([suggestion('tiny', small)]);
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  await person.set({ 'Longest answer': 20 });
  await person.isAnswered('remember me');
  await page.goto('about:blank');
  await page.goto(`${server.origin}/manifest.webmanifest`);
  await page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
  });
  await page.goto(server.origin);
  await page.getByText('The browser has deleted the model').waitFor();
  await page.getByRole('link', { name: 'remember me' }).waitFor();
  await person.button('Download it again').click();
  await person.ready();
  await page.getByRole('link', { name: 'remember me' }).click();
  await page.locator('.bubble', { hasText: 'remember me' }).waitFor();
  await person.isAnswered('and now?');
  check();
});

test('the worker dies in an answer: said, what was written stays, and one button opens the model again', async () => {
  const server = await site([suggestion('tiny', small)]);
  const { page, person, check } = await open(browser, server);
  await scripted(page, { text: words(500), dies: 40 });
  await person.getModel();
  await person.set({ 'Longest answer': 20 });
  await person.send('live');
  await page.locator('article.assistant').getByText('The engine broke down').waitFor();
  assert.match(await person.lastAnswer(), /^w0 w1 w2 .*w20/);
  await page.evaluate(() => (globalThis.script = undefined));
  await person.button('Open it again').click();
  await person.answered();
  await person.isFine();
  await page.getByText('2/2').waitFor();

  // The real worker, with nothing going on.
  const end = (worker) => worker.evaluate(() => void setTimeout(() => { throw new Error('gone'); }, 0)).catch(() => {});
  // Those of its team sleep, and hear nothing.
  await Promise.race([Promise.all(page.workers().map(end)), page.waitForTimeout(1000)]);
  await person.send('again');
  await page.locator('article.assistant').last().getByText('The engine broke down').waitFor();
  await person.button('Open it again').last().click();
  await person.answered();
  await person.isFine();
  check();
});

test('opening a model took the page down: it is not opened by itself again', async () => {
  const server = await site([suggestion('tiny', small)]);
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  // What a page that ended in the middle leaves behind.
  await page.goto(`${server.origin}/manifest.webmanifest`);
  await page.evaluate((url) => localStorage.setItem('picolm:opening', url), `${server.origin}/models/tiny.gguf`);
  await page.goto(server.origin);
  await page.getByText('The page ended while it opened this model').waitFor();
  await person.button('Open it again').click();
  await person.ready();
  check();
});

test('a message that is longer than the context: said, with a new chat as one of the next steps', async () => {
  const server = await site([suggestion('tiny', small)]);
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  await person.send('many words '.repeat(400));
  await page.getByText('This message is longer than the context').waitFor();
  await page.getByRole('alert').getByRole('button', { name: 'New chat' }).click();
  await person.isAnswered('short');
  check();
});
