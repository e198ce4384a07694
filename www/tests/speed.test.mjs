// A long answer never holds up a frame; many conversations are there at once.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
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

/** About 2,000 tokens (4 characters each here) with long code, a long table, lists and paragraphs. */
function longAnswer() {
  const paragraph = Array.from({ length: 6 }, (_, n) => `The quick brown fox ${n} jumps over the **lazy** dog, and \`then\` some more words follow. `).join('');
  const code = Array.from({ length: 45 }, (_, n) => `def step_${n}(value):\n    return value * ${n} + 1  # comment ${n}`).join('\n');
  const table = Array.from({ length: 40 }, (_, n) => `| row ${n} | ${n * n} | some text ${n} |`).join('\n');
  const list = Array.from({ length: 20 }, (_, n) => `${n + 1}. item *number* ${n}`).join('\n');
  return `# Answer\n\n${paragraph}\n\n\`\`\`python\n${code}\n\`\`\`\n\n| a | b | c |\n|---|--:|---|\n${table}\n\n${list}\n\n${paragraph}${words(1000)}`.slice(0, 8000);
}

/** The tasks of the page's main thread: time on the clock and on the processor, in milliseconds, longest first. */
function tasksOf(trace) {
  const { traceEvents } = JSON.parse(trace);
  const threads = traceEvents.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(({ pid, tid }) => `${pid}.${tid}`);
  const tasks = traceEvents.filter(({ name, pid, tid, tdur }) => name === 'RunTask' && tdur !== undefined && threads.includes(`${pid}.${tid}`));
  return tasks.map(({ dur, tdur }) => ({ clock: dur / 1000, processor: tdur / 1000 })).sort((a, b) => b.processor - a.processor);
}

test('2,000 tokens with code and tables: no task of the main thread takes 50 ms of the processor', async (t) => {
  const { context, page, person, check } = await open(browser, server, { viewport: { width: 1280, height: 900 } });
  const text = longAnswer();
  // The colours of code are fetched once.
  await scripted(page, { text: '```python\n1\n```', perSecond: 250 });
  await person.getModel();
  await person.ask('warm up');
  await page.locator('.hljs-number').waitFor();
  await page.evaluate((text) => (globalThis.script.parts = text.match(/[^]{1,4}/gu)), text);
  await browser.startTracing(page, { categories: ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline'] });
  await person.ask('long');
  const tasks = tasksOf(await browser.stopTracing());
  assert.ok(tasks.length > 100, 'the tasks were seen');
  const most = tasks[0].processor;
  t.diagnostic(`${Math.ceil(text.length / 4)} tokens: longest task ${most.toFixed(1)} ms of the processor, ${Math.max(...tasks.map(({ clock }) => clock)).toFixed(1)} ms on the clock, ${tasks.length} tasks`);
  assert.ok(most < 50, `${most} ms`);
  assert.ok((await person.lastAnswer()).includes('step_44'));
  assert.equal(await page.locator('pl-markdown.text').last().locator('tbody tr').count(), 40);
  check();
  await context.close();
});

/** Writes conversations of 8 messages into the page's database. */
const fill = (page, count) =>
  page.evaluate(async (count) => {
    const open = indexedDB.open('picolm');
    await new Promise((resolve) => (open.onsuccess = resolve));
    const change = open.result.transaction(['conversations', 'messages'], 'readwrite');
    const time = Date.now();
    for (let c = 0; c < count; c++) {
      const id = `c${c}`;
      const created = time - c * 3_600_000;
      change.objectStore('conversations').put({ id, title: `Conversation number ${c}`, created, updated: created, head: `${id}m7` });
      for (let m = 0; m < 8; m++) {
        const role = m % 2 ? 'assistant' : 'user';
        const content = `Message ${m} of ${c}. ${'Some words of an answer. '.repeat(20)}`;
        change.objectStore('messages').put({ id: `${id}m${m}`, conversation: id, parent: m ? `${id}m${m - 1}` : null, role, content, created: created + m, status: 'done' });
      }
    }
    await new Promise((resolve) => (change.oncomplete = resolve));
    open.result.close();
  }, count);

test('500 conversations are there within 300 ms, from the start of the page', async (t) => {
  const { context, page, check } = await open(browser, server);
  await page.getByText('No conversations yet.').waitFor();
  await fill(page, 500);
  await page.addInitScript(() => {
    const look = () => (document.querySelectorAll('.list li').length === 500 ? (globalThis.shown = performance.now()) : requestAnimationFrame(look));
    requestAnimationFrame(look);
  });
  const times = [];
  for (let run = 0; run < 5; run++) {
    await page.reload();
    times.push(await (await page.waitForFunction(() => globalThis.shown)).jsonValue());
  }
  t.diagnostic(`milliseconds from the start of the page to 500 conversations: ${times.map(Math.round).join(', ')}`);
  assert.ok(Math.min(...times) <= 300, times.join());

  await page.getByRole('link', { name: 'Conversation number 321' }).click();
  await page.locator('article').nth(7).waitFor();
  await page.getByRole('searchbox').fill('7 of 499.');
  await page.waitForFunction(() => document.querySelectorAll('.list li').length === 1);
  check();
  await context.close();
});
