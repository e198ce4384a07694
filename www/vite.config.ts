import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

// As `cargo xtask web` serves it; without these two the service worker sets them.
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** The page, and what lies in `public`. */
const fixed = ['./', 'manifest.webmanifest', 'models.json', 'icons/icon.svg', 'icons/icon-192.png', 'icons/icon-512.png'];

/** Tells the service worker which files make the page, and a version that changes when any of them does. */
function precache(): Plugin {
  return {
    name: 'precache',
    apply: 'build',
    generateBundle(_, bundle) {
      const hash = createHash('sha256');
      const names = Object.keys(bundle).filter((name) => name !== 'sw.js').sort();
      for (const name of names) {
        const file = bundle[name]!;
        hash.update(name).update(file.type === 'chunk' ? file.code : file.source);
      }
      for (const name of fixed.slice(1)) hash.update(name).update(readFileSync(`public/${name}`));
      const worker = bundle['sw.js'];
      if (worker?.type !== 'chunk') throw new Error('there is no sw.js to fill in');
      const wasm = names.filter((name) => name.endsWith('.wasm'));
      const later = names.filter((name) => /\/katex-/.test(name));
      const files = [...fixed, ...names.filter((name) => !wasm.includes(name) && !later.includes(name) && name !== 'index.html')];
      const build = { version: hash.digest('hex').slice(0, 16), files, wasm, later };
      worker.code = worker.code.replace(/self\.__BUILD__/, JSON.stringify(build));
    },
  };
}

export default defineConfig({
  // Any folder of any host.
  base: './',
  server: { headers },
  preview: { headers },
  optimizeDeps: { exclude: ['picolm'] },
  worker: { format: 'es' },
  plugins: [precache()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    // The browsers that have what the engine needs have this too; the polyfill would be a script in the page.
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: 'index.html', sw: 'src/sw.ts' },
      output: { entryFileNames: (chunk) => (chunk.name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js') },
    },
  },
});
