// Makes the pictures of docs/screenshots: node screenshots.mjs, after `npm run build`. PICOLM_MODEL is the model that answers.
import fs from 'node:fs';
import path from 'node:path';
import { devices } from 'playwright-core';
import { REAL, launch, open, startSite, suggestion } from './tests/harness.mjs';

if (!REAL) throw new Error('PICOLM_MODEL has to name the default model');
const FOLDER = path.resolve(import.meta.dirname, '../docs/screenshots');
const WIDE = { viewport: { width: 1280, height: 800 } };
const data = fs.readFileSync(REAL);
const [first, ...others] = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, 'public/models.json'), 'utf8'));
const models = [{ ...suggestion(first.name, data), ...first, source: undefined }, ...others];

/** The answers are the model's own; with this seed they are the same on every machine. */
const SAMPLING = { Temperature: 0.3, Seed: 1 };
const SHOWN = ['Write a Python function that says whether a number is even', 'What is the capital of France?'];
const QUESTIONS = ['Ideas for a rainy Sunday', 'Why is the sky blue?', 'A poem about a lighthouse', 'Names for a small black cat'];

fs.mkdirSync(FOLDER, { recursive: true });
const server = await startSite({ models });
const browser = await launch();

/** A page with a model and some conversations, the last of which is shown. */
async function chatting(options) {
  const opened = await open(browser, server, options);
  const { page, person } = opened;
  await person.getModel();
  const ask = async (text) => {
    await person.prompt.fill(text);
    await person.button('Send').click();
    await person.answered();
  };
  const settings = async (values) => {
    await page.keyboard.press('Alt+s');
    const dialog = page.getByRole('dialog', { name: 'Settings' });
    for (const [label, value] of Object.entries(values)) {
      await dialog.getByLabel(label, { exact: true }).fill(String(value));
      await dialog.getByLabel(label, { exact: true }).dispatchEvent('change');
    }
    await page.keyboard.press('Escape');
  };
  await settings({ ...SAMPLING, 'Longest answer': 8 });
  for (const question of QUESTIONS) {
    await ask(question);
    await page.keyboard.press('Alt+n');
  }
  await settings({ 'Longest answer': 0 });
  for (const question of SHOWN) await ask(question);
  await page.locator('.hljs-keyword').first().waitFor();
  return opened;
}

async function shoot(page, name) {
  await page.evaluate(() => document.activeElement?.blur());
  await page.mouse.move(0, 0);
  await page.waitForTimeout(400);
  await page.screenshot({ path: path.join(FOLDER, `${name}.png`) });
}

for (const [name, options] of [
  ['chat', { ...WIDE, colorScheme: 'light' }],
  ['chat-dark', { ...WIDE, colorScheme: 'dark' }],
  ['phone', { ...devices['Pixel 7'], deviceScaleFactor: 1.5 }],
]) {
  const { context, page } = await chatting(options);
  await page.evaluate(() => document.querySelectorAll('.notice button:last-child').forEach((button) => button.click()));
  await shoot(page, name);
  if (name === 'chat') {
    await page.getByRole('button', { name: 'Models', exact: true }).click();
    await shoot(page, 'models');
  }
  await context.close();
}

const { context, page, person } = await open(browser, server, WIDE);
await page.locator('.suggestion .primary').waitFor();
await shoot(page, 'first-run');
server.files.get(`/${first.url}`).rate = 2_000_000;
await page.locator('.suggestion .primary').click();
await page.waitForFunction(() => document.querySelector('progress')?.value > 45e6, undefined, { timeout: 60_000 });
await shoot(page, 'download');
server.files.get(`/${first.url}`).rate = undefined;
await person.ready();
await shoot(page, 'empty');
await page.locator('html').evaluate(() => {
  const data = new DataTransfer();
  data.items.add(new File(['no model at all'], 'holiday.gguf'));
  document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
});
await page.getByRole('alert').waitFor();
await shoot(page, 'error');
await context.close();
await browser.close();
server.close();
