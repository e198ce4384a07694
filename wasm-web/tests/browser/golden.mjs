// The golden models of the core.
import fs from 'node:fs';
import path from 'node:path';

const CORE = path.resolve(import.meta.dirname, '../../../core/tests');
export const digests = JSON.parse(fs.readFileSync(path.join(CORE, 'witness/digests.json'), 'utf8'));
export const goldenPath = (name) => path.join(CORE, 'golden', name);
export const golden = (name) => fs.readFileSync(goldenPath(name));

/**
 * The golden model has no chat template: this adds one, which is the message itself if no other is given. The entry goes before all others and is a
 * multiple of 32 bytes, so that the tensors behind stay aligned.
 */
export function withTemplate(gguf, template = '{% for message in messages %}{{ message.content }}{% endfor %}') {
  const [key, typeString] = ['tokenizer.chat_template', 8];
  const fixed = 8 + key.length + 4 + 8;
  const text = template.replace(' ', ' '.repeat(1 + (-(fixed + template.length) & 31)));
  const entry = Buffer.alloc(fixed + text.length);
  entry.writeBigUInt64LE(BigInt(key.length), 0);
  entry.write(key, 8);
  entry.writeUInt32LE(typeString, 8 + key.length);
  entry.writeBigUInt64LE(BigInt(text.length), 12 + key.length);
  entry.write(text, fixed);
  const head = Buffer.from(gguf.subarray(0, 24)); // magic, version, tensors, entries
  head.writeBigUInt64LE(head.readBigUInt64LE(16) + 1n, 16);
  return Buffer.concat([head, entry, gguf.subarray(24)]);
}
