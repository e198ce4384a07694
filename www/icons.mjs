// Makes the icons of the app from icon.svg: node icons.mjs
import fs from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';

const folder = path.join(import.meta.dirname, 'public/icons');
const drawing = fs.readFileSync(path.join(folder, 'icon.svg'), 'utf8');
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
for (const size of [192, 512]) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  // Full to the edges: systems cut their own shape out of it.
  await page.setContent(`<style>body{margin:0;background:#0b6b5f}svg{display:block;width:100vw}</style>${drawing}`);
  await page.screenshot({ path: path.join(folder, `icon-${size}.png`) });
}
await browser.close();
