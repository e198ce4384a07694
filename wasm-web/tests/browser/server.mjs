// A file server that counts the bytes it sends and fails on demand; also serves the test page and the built package.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { createCipheriv, createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
const TYPES = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.html': 'text/html',
  '.wasm': 'application/wasm',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
  '.webmanifest': 'application/manifest+json',
};
const ISOLATION = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
const PIECE = 64 << 10;

/** `bytes` bytes that look random and are always the same for a seed. */
export function noise(bytes, seed = 1) {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(bytes));
}

export function sha256(data) {
  return createHash('sha256').update(data).digest('hex');
}

/**
 * Starts a server on two ports (two origins). `server.files` maps paths to files:
 * data; etag, modified, linked (x-linked-etag); ranges: false; conditions: false (If-Range is ignored); chunked, gzip: true;
 * hidden: no headers exposed across origins; cors: false; rate: bytes a second and connection; redirect: a URL.
 * Faults: `fault(request, body)` may return { status, headers }, { cut: after so many bytes }, { flip: this byte of the body }.
 * Counts: sent, requests (as seen).
 * `site`: a folder to serve in place of the test page, with these `headers`.
 */
export async function startServer({ site, headers = ISOLATION } = {}) {
  const files = new Map();
  const servers = [createServer(handle), createServer(handle)];
  const origins = [];
  for (const server of servers) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    origins.push(`http://localhost:${server.address().port}`);
  }

  function handle(request, response) {
    respond(request, response).catch(() => response.destroy());
  }

  async function respond(request, response) {
    const { pathname } = new URL(request.url, origins[0]);
    const file = files.get(pathname);
    if (file) return sendFile(file, request, response);
    if (pathname === '/favicon.ico') return response.writeHead(204).end();
    const plain = pathname.startsWith('/plain/');
    const root = site ?? ROOT;
    const local = path.join(root, site ? pathname.replace(/\/$/, '/index.html') : pathname.replace(/^\/(plain|isolated)\//, '/tests/browser/'));
    const type = TYPES[path.extname(local)];
    const body = local.startsWith(root + path.sep) && type ? await readFile(local).catch(() => undefined) : undefined;
    if (!body) return response.writeHead(404, { 'access-control-allow-origin': '*' }).end('no such file');
    response.writeHead(200, { 'content-type': type, 'cross-origin-resource-policy': 'same-origin', ...(plain ? {} : headers) });
    response.end(body);
  }

  const add = (name, file) => {
    const added = { sent: 0, requests: [], etag: '"one"', ...file };
    files.set(name, added);
    return added;
  };
  const close = () => servers.forEach((server) => (server.closeAllConnections(), server.close()));
  return { files, add, close, origin: origins[0], other: origins[1] };
}

async function sendFile(file, request, response) {
  const range = /^bytes=(\d+)-(\d+)?$/.exec(request.headers.range ?? '');
  const seen = { response, method: request.method, range: request.headers.range, headers: request.headers, index: file.requests.length };
  file.requests.push(seen);
  const headers = { 'content-type': 'application/octet-stream' };
  if (file.cors !== false) headers['access-control-allow-origin'] = '*';
  if (!file.hidden) headers['access-control-expose-headers'] = '*';
  headers['access-control-allow-headers'] = 'authorization';
  if (request.method === 'OPTIONS') return response.writeHead(204, headers).end();
  if (file.etag) headers.etag = file.etag;
  if (file.modified) headers['last-modified'] = file.modified;
  if (file.linked) headers['x-linked-etag'] = file.linked;
  if (file.redirect) return response.writeHead(302, { ...headers, location: file.redirect }).end();

  const condition = file.conditions === false ? undefined : request.headers['if-range'];
  const partial = range && file.ranges !== false && (condition === undefined || condition === file.etag);
  const start = partial ? Number(range[1]) : 0;
  const end = partial ? Math.min(Number(range[2] ?? Infinity) + 1, file.data.length) : file.data.length;
  if (partial && start >= file.data.length) {
    return response.writeHead(416, { ...headers, 'content-range': `bytes */${file.data.length}` }).end();
  }
  const encoded = file.gzip && !partial && /gzip/.test(request.headers['accept-encoding'] ?? '');
  const body = encoded ? gzipSync(file.data) : file.data.subarray(start, end);
  const fault = file.fault?.({ ...seen, start, end }, body) ?? {};
  if (fault.status) return response.writeHead(fault.status, { ...headers, ...fault.headers }).end('fault');
  if (encoded) headers['content-encoding'] = 'gzip';
  if (partial) headers['content-range'] = `bytes ${start}-${end - 1}/${file.data.length}`;
  if (!file.chunked) headers['content-length'] = body.length;
  response.writeHead(partial ? 206 : 200, { ...headers, ...fault.headers });
  if (request.method === 'HEAD') return response.end();
  await sendBody(file, response, body, fault);
}

async function sendBody(file, response, body, { cut, flip }) {
  const limit = cut ?? body.length;
  const closed = once(response, 'close');
  for (let at = 0; at < limit && !response.destroyed; at += PIECE) {
    let piece = body.subarray(at, Math.min(at + PIECE, limit));
    if (flip >= at && flip < at + piece.length) {
      piece = Buffer.from(piece);
      piece[flip - at] ^= 1;
    }
    file.sent += piece.length;
    if (!response.write(piece) && !response.destroyed) {
      await Promise.race([new Promise((resolve) => response.once('drain', resolve)), closed]);
    }
    if (file.rate && at + PIECE < limit) await sleep((1000 * piece.length) / file.rate);
  }
  if (cut !== undefined) {
    await sleep(20); // So that what was sent before the cut arrives.
    response.destroy();
  } else response.end();
}
