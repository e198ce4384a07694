// The engine in Firefox, whose compiler makes other instructions of the relaxed dots than Chromium's: the same bits.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { firefoxPath, startFirefox } from './firefox.mjs';
import { digests, golden } from './golden.mjs';
import { startServer } from './server.mjs';

const skip = fs.existsSync(firefoxPath) ? false : `there is no ${firefoxPath}`;
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-firefox-'));

let server;
let firefox;
before(async () => {
  server = await startServer();
  if (!skip) firefox = await startFirefox(profile);
});
after(async () => {
  await firefox?.quit();
  server.close();
  fs.rmSync(profile, { recursive: true, force: true });
});

test('Firefox: one digest over four builds, and it is the witness’s', { skip }, async () => {
  await firefox.goto(`${server.origin}/isolated/engine.html`);
  for (const name of ['llama-Q4_0.gguf', 'llama-Q4_K_S.gguf', 'llama-Q8_0.gguf', 'gemma3-F16.gguf']) {
    server.add(`/${name}`, { data: golden(name) });
    for (const [simd, backend] of [['relaxed', 'relaxed-simd'], ['simd128', 'simd128']]) {
      for (const threads of [1, 2]) {
        const result = await firefox.evaluate(
          `async (url, options) => {
            const engine = await (await import('/dist/index.js')).Engine.fromUrl(url, options);
            const [digest, { backend, threads }] = [await engine.digest(), engine.info];
            await engine.dispose();
            return { digest, backend, threads };
          }`,
          `${server.origin}/${name}`,
          { simd, threads },
        );
        assert.deepEqual(result, { digest: digests.f16[name], backend, threads }, name);
      }
    }
  }
});
