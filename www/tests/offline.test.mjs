// Without a network, on hosts that send no headers, installed; and how much the page brings.
import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { DIST, launch, open, startSite } from './harness.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());
afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

/** The page is kept, and the engine's build that this browser runs. */
const kept = (page) =>
  page.waitForFunction(async () => {
    const names = await caches.keys();
    const requests = names.length ? await (await caches.open(names[0])).keys() : [];
    return requests.some(({ url }) => url.endsWith('.wasm')) && navigator.serviceWorker.controller !== null;
  });

test('the network is gone: reload, history, chat, settings, another language', async () => {
  const server = await startSite();
  const { page, person, check } = await open(browser, server);
  await person.getModel();
  await person.set({ 'Longest answer': 20 });
  await person.isAnswered('with a network');
  await kept(page);
  // No other build, and no module for schemas, which nobody has asked for.
  const modules = await page.evaluate(async () => {
    const requests = await (await caches.open((await caches.keys())[0])).keys();
    return requests.map(({ url }) => url).filter((url) => url.endsWith('.wasm'));
  });
  assert.ok(modules.length === 1 && !modules[0].includes('/grammar-'), `${modules}`);
  server.close();

  await page.reload();
  await page.locator('.bubble', { hasText: 'with a network' }).waitFor();
  await person.ready();
  await person.isAnswered('without a network');
  await page.goto(`${server.origin}/?from=home`);
  await page.getByRole('link', { name: 'with a network' }).click();
  await page.locator('.bubble', { hasText: 'without a network' }).waitFor();
  await person.button('Settings').click();
  await page.getByLabel('Language').selectOption('vi');
  await page.getByRole('heading', { name: 'Cài đặt' }).waitFor();
  check();
});

test('a device without a network is told so, before anything else', async () => {
  const server = await startSite();
  const { context, page, person } = await open(browser, server, { allowed: ['http://localhost:'] });
  await person.getModel();
  await kept(page);
  await context.setOffline(true);
  await person.button('Models').click();
  await page.getByLabel('Address of a .gguf file').fill(`${server.other}/model.gguf`);
  await page.getByLabel('Address of a .gguf file').press('Enter');
  await page.getByRole('dialog').getByRole('alert').getByText('There is no network', { exact: true }).waitFor({ timeout: 20_000 });
  server.close();
});

test('a host that sends no headers: one reload, which is said, and all threads after it', async () => {
  const server = await startSite({ headers: {} });
  const context = await browser.newContext({ locale: 'en-GB' });
  const page = await context.newPage();
  let loads = 0;
  page.on('load', () => loads++);
  await page.goto(server.origin);
  await page.getByText('The page was loaded once more').waitFor();
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  await page.getByRole('button', { name: /^Download/ }).click();
  await page.getByTitle('What the engine runs on').click();
  const cores = await page.evaluate(() => Math.min(8, navigator.hardwareConcurrency));
  assert.match(await page.locator('#engine-info').textContent(), new RegExp(`Threads${cores}.*Isolated pageyes`, 's'));
  await page.reload();
  await page.locator('.dot.ready').waitFor();
  assert.equal(loads, 3, 'the first load, the one that isolates, and ours');
  server.close();
});

test('without a service worker and headers: one thread, and the reason', async () => {
  const server = await startSite({ headers: {} });
  const { page, person, check } = await open(browser, server, { serviceWorkers: 'block' });
  await person.getModel();
  await page.getByTitle('What the engine runs on').click();
  assert.match(await page.locator('#engine-info').textContent(), /Threads1.*not cross-origin isolated.*Isolated pageno/s);
  await person.isAnswered('hello');
  check();
  server.close();
});

test('it can be installed', async () => {
  const server = await startSite();
  const { context, page, person } = await open(browser, server);
  await person.getModel();
  const session = await context.newCDPSession(page);
  const { errors, data } = await session.send('Page.getAppManifest');
  assert.deepEqual(errors, []);
  const manifest = JSON.parse(data);
  for (const { src } of manifest.icons) assert.ok(fs.existsSync(path.join(DIST, src)), src);
  const { installabilityErrors } = await session.send('Page.getInstallabilityErrors');
  // A private window never installs; nothing else may be missing.
  assert.deepEqual(installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito'), []);
  server.close();
});

test('what the page brings: at most 535 KB gzipped with the engine, and 300 KB before it with all that comes later but formulas', async (t) => {
  const names = fs.readdirSync(DIST, { recursive: true }).filter((name) => fs.statSync(path.join(DIST, name)).isFile());
  const size = (pattern) => names.filter((name) => pattern.test(name)).reduce((sum, name) => sum + packed(name), 0);
  const packed = (name) => {
    const content = fs.readFileSync(path.join(DIST, name));
    return name.endsWith('.woff2') || name.endsWith('.png') ? content.length : gzipSync(content, { level: 9 }).length;
  };
  const sizes = {
    'HTML, CSS, JS at once': size(/^index\.html$|\/(index|browser)-.*\.(js|css)$|^sw\.js$/),
    'font (Latin)': size(/latin.*woff2$/),
    'later: colours of code': size(/languages-.*\.js$/),
    'later: formulas': size(/katex-.*\.js$/),
    'later: Vietnamese, Chinese': size(/\/(vi|zh)-.*\.js$|vietnamese.*woff2$/),
    'icons, manifest, list': size(/icons\/|webmanifest$|models\.json$/),
    'engine, the build that most load': size(/relaxed-threads.*\.wasm$/),
  };
  for (const [what, bytes] of Object.entries(sizes)) t.diagnostic(`${what}: ${(bytes / 1000).toFixed(1)} KB`);
  const sum = (wanted) => Object.entries(sizes).reduce((sum, [what, bytes]) => sum + (wanted(what) ? bytes : 0), 0);
  const [first, page] = [sum((what) => !what.startsWith('later')), sum((what) => !/^engine|formulas$/.test(what))];
  t.diagnostic(`at first: ${(first / 1000).toFixed(1)} KB`);
  assert.ok(sizes['later: formulas'] > 0);
  assert.ok(first <= 535_000, `${first} bytes`);
  assert.ok(page <= 300_000, `${page} bytes`);
});
