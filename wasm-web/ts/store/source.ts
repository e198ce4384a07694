/**
 * What a caller asks for, made exact: the URLs of all parts, their names, and the key under which they are stored.
 *
 * **Secrets.** Nothing private is stored. The stored URL has no query, fragment, user or password, and request headers are
 * never written. The key is a readable name and a hash over the parts' URLs with their queries, because a query may say which
 * file is meant (`/download?id=7`); parameters that only sign or authorise (`X-Amz-Signature`, `token` …) are left out of
 * it, so that a freshly signed URL resumes the same download.
 */
import { PicolmError } from '../errors.js';
import type { Hasher } from './types.js';

/** One file to download. */
export interface Part {
  url: string;
  /** For people, and never used as a path. */
  name: string;
  /** SHA-256 that the caller expects. */
  sha256?: string | undefined;
}

/** All files of a model. */
export interface Source {
  key: string;
  url: string;
  parts: Part[];
}

/** The options that say what to download. */
export interface SourceOptions {
  /** Any part of a split model (`-00001-of-00003.gguf`) stands for all. */
  url?: string | URL | undefined;
  /** The parts in order, where their names do not tell. */
  urls?: readonly (string | URL)[] | undefined;
  /** Expected SHA-256 in hex; a list for several parts. */
  sha256?: string | readonly string[] | undefined;
}

/** Only parameters that cannot tell files apart: taking one too many for such would mix up two models. */
const SECRET = /^(x-amz-.*|x-goog-.*|.*token.*|sig|signature|expires|policy|key-pair-id|s[ekprtv]|spr|download)$/i;
const SPLIT = /-(\d{5})-of-(\d{5})(\.gguf)$/i;
const SHA256 = /^[0-9a-f]{64}$/;
const MAX_PARTS = 999;

/** Checks the options; throws `invalid_request` naming what is wrong. */
export function parseSource(options: SourceOptions, hasher: () => Hasher): Source {
  const given = options.urls ?? (options.url === undefined ? [] : [options.url]);
  if (given.length === 0) throw new PicolmError('invalid_request', 'No URL was given: pass `url`, or `urls` for several parts.');
  const urls = given.map(parseUrl);
  const all = urls.length === 1 ? splitParts(urls[0]!) : urls;
  const hashes = parseHashes(options.sha256, all.length);
  const parts = all.map((url, i) => ({ url: url.href, name: fileName(url), sha256: hashes[i] }));
  return { key: keyOf(all, hasher()), url: withoutSecrets(all[0]!), parts };
}

/** A URL as it may be stored and shown. */
export function withoutSecrets(url: URL | string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

function parseUrl(text: string | URL): URL {
  let url;
  try {
    url = new URL(text, globalThis.location?.href);
  } catch {
    throw new PicolmError(
      'invalid_request',
      `"${text}" is not a URL: it needs a scheme and a host, such as https://example.org/model.gguf.`,
    );
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new PicolmError('invalid_request', `"${withoutSecrets(url)}" cannot be downloaded: only https and http URLs can.`);
  }
  url.hash = '';
  return url;
}

function splitParts(url: URL): URL[] {
  const match = SPLIT.exec(url.pathname);
  const count = Number(match?.[2] ?? 1);
  if (!match || count < 1) return [url];
  if (count > MAX_PARTS)
    throw new PicolmError('invalid_request', `"${withoutSecrets(url)}" says ${count} parts; at most ${MAX_PARTS} are supported.`);
  return Array.from({ length: count }, (_, i) => {
    const part = new URL(url);
    part.pathname = url.pathname.replace(SPLIT, `-${String(i + 1).padStart(5, '0')}-of-$2$3`);
    return part;
  });
}

function parseHashes(sha256: SourceOptions['sha256'], parts: number): string[] {
  if (sha256 === undefined) return [];
  const hashes = (typeof sha256 === 'string' ? [sha256] : [...sha256]).map((hash) => hash.toLowerCase());
  if (hashes.length !== parts) {
    throw new PicolmError(
      'invalid_request',
      `The model has ${parts} file(s), but ${hashes.length} SHA-256 were given: pass one for each, in order.`,
    );
  }
  const wrong = hashes.find((hash) => !SHA256.test(hash));
  if (wrong !== undefined) throw new PicolmError('invalid_request', `"${wrong}" is not a SHA-256: it must have 64 hex digits.`);
  return hashes;
}

function fileName(url: URL): string {
  const last = url.pathname.split('/').pop() || url.hostname;
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

/** A readable name with only `[a-z0-9._-]`, and 16 hex digits of a hash over all URLs: safe in any file system. */
function keyOf(urls: URL[], hasher: Hasher): string {
  const identities = urls.map((url) => {
    const query = [...url.searchParams].filter(([name]) => !SECRET.test(name)).sort();
    return `${withoutSecrets(url)}?${new URLSearchParams(query)}\n`;
  });
  hasher.update(new TextEncoder().encode(identities.join('')));
  return `${slugOf(fileName(urls[0]!))}-${hasher.hex().slice(0, 16)}`;
}

/** What of a file's name may stand in a key. */
export function slugOf(name: string): string {
  const slug = name
    .replace(SPLIT, '')
    .replace(/\.gguf$/i, '')
    .toLowerCase()
    .replace(/[^a-z0-9_.-]+/g, '-');
  return slug.replace(/^[.-]+/, '').slice(0, 48) || 'model';
}
