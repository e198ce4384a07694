// Times the npm package in headless Chromium, as the peers are timed: a prompt of about 270 tokens, then tokens one by one.
//
//   cargo xtask npm && node benches/browser.mjs MODEL.gguf [--threads 1] [--simd auto] [--gen 64] [--runs 3] [--kv f16]
//
// Prints one JSON line: tokens per second (medians), milliseconds from a cold page with the model in OPFS to the first token of a
// short prompt, and the renderer's anonymous memory at its peak (Linux) beside the model's size and the KV cache.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: 'string', default: '1' },
    simd: { type: 'string', default: 'auto' },
    gen: { type: 'string', default: '64' },
    runs: { type: 'string', default: '3' },
    kv: { type: 'string', default: 'f16' },
  },
});
const [model] = positionals;
if (!model) throw new Error('which model? node benches/browser.mjs MODEL.gguf');
const root = path.resolve(import.meta.dirname, '..');
const { chromium } = createRequire(path.join(root, 'wasm-web/package.json'))('playwright-core');

const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };
const server = http.createServer((request, response) => {
  const url = decodeURIComponent(request.url.split('?')[0]);
  const headers = {
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
    'cross-origin-resource-policy': 'same-origin',
  };
  if (url === '/') return response.writeHead(200, { ...headers, 'content-type': 'text/html' }).end('<!doctype html><title>picolm</title>');
  const file = url === '/model.gguf' ? model : path.join(root, 'wasm-web/dist', url);
  if (!fs.existsSync(file) || !fs.statSync(file).isFile()) return response.writeHead(404, headers).end();
  headers['content-type'] = TYPES[path.extname(file)] ?? 'application/octet-stream';
  const size = fs.statSync(file).size;
  const range = /^bytes=(\d+)-(\d+)?$/.exec(request.headers.range ?? '');
  const [start, end] = range ? [Number(range[1]), Math.min(Number(range[2] ?? Infinity), size - 1)] : [0, size - 1];
  headers['content-length'] = end - start + 1;
  if (range) headers['content-range'] = `bytes ${start}-${end}/${size}`;
  response.writeHead(range ? 206 : 200, headers);
  if (request.method === 'HEAD') return response.end();
  fs.createReadStream(file, { start, end }).pipe(response);
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const origin = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const context = await browser.newContext();
const options = { threads: Number(values.threads), simd: values.simd, kv: values.kv, context: 1024 };

/** Opens the model in a new page and runs `work(engine, argument)` there. */
async function inPage(work, argument) {
  const page = await context.newPage();
  await page.goto(`${origin}/`);
  let memory = 0;
  const watch = setInterval(async () => (memory = Math.max(memory, await rendererMemory().catch(() => 0))), 50);
  const source = `async ({ url, options, argument }) => {
    const start = performance.now();
    const { Engine } = await import('/index.js');
    const engine = await Engine.fromUrl(url, options);
    const result = await (${work})(engine, argument, start);
    return { ...result, info: engine.info };
  }`;
  const result = await page.evaluate(`(${source})(${JSON.stringify({ url: `${origin}/model.gguf`, options, argument })})`);
  clearInterval(watch);
  await page.close();
  return { ...result, memory };
}

/** The greatest anonymous memory of a renderer of ours, in bytes. */
async function rendererMemory() {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  const memory = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => {
    const status = fs.readFileSync(`/proc/${id}/status`, 'utf8');
    return 1024 * Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0);
  });
  return Math.max(0, ...memory);
}

const speed = async (engine, { gen, runs }) => {
  const sentence = 'The history of computing is long and rich. ';
  const repeats = Math.round((270 * 10) / (await engine.tokenize(sentence.repeat(10))).length);
  const once = async (max_tokens) => {
    const start = performance.now();
    const prompt = sentence.repeat(repeats) + Math.random();
    // Ends are banned: each run has its length.
    const request = { prompt, max_tokens, temperature: 0, cache_prompt: false, logit_bias: { 0: -100, 1: -100, 2: -100 } };
    const { usage } = await engine.completions.create(request);
    return { ms: performance.now() - start, ...usage };
  };
  const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  await once(4);
  const [prefill, decode] = [[], []];
  for (let i = 0; i < runs; i++) {
    const [short, long] = [await once(1), await once(gen + 1)];
    prefill.push((short.prompt_tokens / short.ms) * 1e3);
    decode.push(((long.completion_tokens - 1) / (long.ms - short.ms)) * 1e3);
  }
  return { prefill: median(prefill), decode: median(decode) };
};
const firstToken = async (engine, _, start) => {
  for await (const chunk of await engine.completions.create({ prompt: 'The capital of France is', max_tokens: 1, temperature: 0, stream: true })) {
    if (chunk.choices[0].text) break;
  }
  return { ms: performance.now() - start };
};

await inPage(firstToken); // downloads
const cold = [];
for (let i = 0; i < Number(values.runs); i++) cold.push((await inPage(firstToken)).ms);
const { prefill, decode, info, memory } = await inPage(speed, { gen: Number(values.gen), runs: Number(values.runs) });
const round = (number) => Number(number.toFixed(1));
console.log(
  JSON.stringify({
    engine: `picolm ${info.backend}`,
    model: path.basename(model),
    threads: info.threads,
    prefill: round(prefill),
    decode: round(decode),
    firstTokenMs: round(cold.sort((a, b) => a - b)[cold.length >> 1]),
    rendererAnonMB: round(memory / 1e6),
    modelMB: round(info.fileBytes / 1e6),
    kvMB: round(info.kvBytes / 1e6),
  }),
);
await browser.close();
server.close();
