/** Where a model comes from: what people type, and the address it means. */

export type Source = { url: string } | { problem: 'empty' | 'file' | 'address' };

const HUB = 'https://huggingface.co';

/**
 * Understands a URL, a Hugging Face page, and `owner/repo/file.gguf` (also `owner/repo:file.gguf`).
 * A repository alone is not enough: only its files are models.
 */
export function parseSource(text: string): Source {
  const typed = text.trim();
  if (!typed) return { problem: 'empty' };
  const page = /^https:\/\/(?:huggingface\.co|hf\.co)\/([\w.-]+\/[\w.-]+)(?:\/(?:blob|resolve|tree)\/([^/]+))?\/?(.*)$/.exec(typed);
  if (page) {
    const [, repo, revision = 'main', file = ''] = page;
    return hubFile(repo!, revision, file.split('?')[0]!);
  }
  if (/^https?:\/\//.test(typed)) return URL.canParse(typed) ? { url: typed } : { problem: 'address' };
  const short = /^([\w.-]+\/[\w.-]+)(?:[/:](.+))?$/.exec(typed);
  return short ? hubFile(short[1]!, 'main', short[2] ?? '') : { problem: 'address' };
}

function hubFile(repo: string, revision: string, file: string): Source {
  if (!file.endsWith('.gguf')) return { problem: 'file' };
  return { url: `${HUB}/${repo}/resolve/${revision}/${file}` };
}

/** An address as the store keeps it: without query, fragment and password. */
export function plainUrl(url: string): string {
  const plain = new URL(url, document.baseURI);
  plain.search = plain.hash = plain.username = plain.password = '';
  return plain.href;
}

/** The last part of an address, for people, without the ending. */
export function nameOf(url: string): string {
  const file = decodeURIComponent(new URL(url, document.baseURI).pathname.split('/').pop() || url);
  return file.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, '');
}
