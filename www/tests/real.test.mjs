// The whole way with the default model, from the server of `cargo xtask web` (PICOLM_PAGE is its address): first run, real answers,
// network off. Skipped where that server is not running.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { Person, launch, watch } from './harness.mjs';

const address = process.env.PICOLM_PAGE;
let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

test('first run with the default model: an answer that is right, stopped, the same again by its seed, and offline', { skip: !address }, async (t) => {
  const context = await browser.newContext({ locale: 'en-GB' });
  context.setDefaultTimeout(60_000);
  const { check } = watch(context, new URL(address).origin);
  const page = await context.newPage();
  const person = new Person(page);
  await page.goto(address);
  assert.match(await page.locator('.suggestion').textContent(), /SmolLM2 135M Instruct.*98 MB · Apache-2.0/s);
  const start = Date.now();
  await person.getModel();
  t.diagnostic(`${((Date.now() - start) / 1000).toFixed(1)} s from the button to a model that is open`);
  await person.set({ Temperature: 0, 'Longest answer': 60 });
  assert.match(await person.ask('What is the capital of France?'), /Paris/);
  t.diagnostic(await page.locator('.stats').last().textContent());

  await person.set({ Temperature: 0.8, Seed: 5, 'Longest answer': 30 });
  await person.button('New chat').click();
  const first = await person.ask('Tell me a story about a fox.');
  await person.another();
  assert.equal(await person.lastAnswer(), first, 'the same seed, the same answer');

  await person.set({ 'Longest answer': 0 });
  await person.send('Write a very long story about a mountain, with many chapters.');
  await page.waitForFunction(() => [...document.querySelectorAll('pl-markdown.text')].at(-1).textContent.length > 60);
  await person.button('Stop').click();
  await person.answered();
  await page.getByText('Stopped.').waitFor();

  await page.waitForFunction(async () => {
    const [name] = await caches.keys();
    return name && (await (await caches.open(name)).keys()).some(({ url }) => url.endsWith('.wasm')) && navigator.serviceWorker.controller;
  });
  await context.setOffline(true);
  await page.reload();
  await person.ready();
  await person.set({ Temperature: 0, 'Longest answer': 60, Seed: '' });
  await person.button('New chat').click();
  assert.match(await person.ask('What is the capital of France?'), /Paris/);
  await page.getByText('Offline', { exact: true }).waitFor();
  check();
  await context.close();
});
