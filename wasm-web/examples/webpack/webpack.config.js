import path from 'node:path';

export default {
  entry: './main.js',
  output: { path: path.resolve(import.meta.dirname, 'dist'), clean: true },
  devServer: {
    static: import.meta.dirname,
    devMiddleware: { publicPath: '/dist/' },
    // Only pages with these headers get shared memory, and so more than one thread. The server that you deploy to needs them too.
    headers: {
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
    },
  },
};
