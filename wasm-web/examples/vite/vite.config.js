import { defineConfig } from 'vite';

// Only pages with these headers get shared memory, and so more than one thread. The server that you deploy to needs them too.
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export default defineConfig({
  server: { headers },
  preview: { headers },
  // `vite dev` would move the package's modules to one file, away from its worker and wasm files.
  optimizeDeps: { exclude: ['picolm'] },
});
