/**
 * The service worker.
 *
 * ```text
 *   install:   the page's files, and the build of the engine that this browser runs ──► cache (of this version)
 *              what few need (formulas, the module for schemas) when it is asked for
 *   activate:  caches of other versions go; open pages are served from now on
 *   fetch:     own files from the cache, else from the network (and kept);  the list of models the other way round;
 *              models and other origins: not touched
 * ```
 *
 * All it serves gets the headers that cross-origin isolation takes, for hosts that cannot send them.
 */
declare const self: ServiceWorkerGlobalScope & { readonly __BUILD__: { version: string; files: string[]; wasm: string[]; later: string[] } };
export {};

const build = self.__BUILD__;
const CACHE = `picolm-${build.version}`;
const FILES = new Set([...build.files, ...build.wasm, ...build.later].map((name) => new URL(name, self.location.href).href));
const PAGE = new URL('./', self.location.href).href;
const LIST = new URL('models.json', self.location.href).href;

/** A module with a relaxed dot: browsers that take it run the relaxed builds. */
const RELAXED = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 17, 65, 0, 253, 17, 65, 0, 253, 17, 253, 147, 2, 11,
];

self.addEventListener('install', (event) => event.waitUntil(install()));
// A new version waits until nobody uses the old one any more, or somebody asks for it.
self.addEventListener('message', ({ data }) => void (data === 'take over' && self.skipWaiting()));
self.addEventListener('activate', (event) => event.waitUntil(activate()));
self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || request.headers.has('range')) return;
  const url = request.url.split(/[?#]/)[0]!;
  if (url === PAGE || url === `${PAGE}index.html`) event.respondWith(serve(PAGE, request));
  else if (url === LIST) event.respondWith(fresh(url, request));
  else if (FILES.has(url)) event.respondWith(serve(url, request));
});

async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.addAll(build.files.map((file) => new Request(file, { cache: 'reload' })));
  // Not waited for: the page works without, and the engine's own request keeps it too.
  void cacheEngine(cache);
}

async function cacheEngine(cache: Cache): Promise<void> {
  const name = WebAssembly.validate(new Uint8Array(RELAXED)) ? 'relaxed' : 'simd128';
  // What this worker serves is isolated, so it is the build with threads.
  const file = build.wasm.find((file) => file.includes(`/${name}-threads-`));
  if (file && !(await cache.match(file))) await cache.add(file).catch(() => {});
}

async function activate(): Promise<void> {
  for (const name of await caches.keys()) if (name.startsWith('picolm-') && name !== CACHE) await caches.delete(name);
  await self.clients.claim();
}

async function serve(url: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(url);
  if (kept) return isolated(kept);
  const response = await fetch(request);
  // Storage may be full: then it is served all the same.
  if (response.ok && FILES.has(url)) await cache.put(url, response.clone()).catch(() => {});
  return isolated(response);
}

/** The network first: whoever serves the page may change it. */
async function fresh(url: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const response = await fetch(request).catch(() => undefined);
  if (!response?.ok) return isolated((await cache.match(url)) ?? Response.error());
  await cache.put(url, response.clone()).catch(() => {});
  return isolated(response);
}

function isolated(response: Response): Response {
  if (response.status === 0 || response.type === 'opaqueredirect') return response;
  const headers = new Headers(response.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
