// How large the package is: what npm brings, and what a page loads. PICOLM_TARBALL is what `npm pack` made (else it is packed here);
// only a build with optimisation (`cargo xtask npm`) is this small.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const KB = 1000;
/** What a build may have. The goal is 400 KB and 160 KB gzipped (300 with tools and JSON); this keeps it from getting further away. */
const [WASM, WASM_GZIPPED] = [812 * KB, 343 * KB];
/** What the module for schemas and grammars may have, which is fetched only if it is needed: what it has, and one in a hundred. */
const [GRAMMAR, GRAMMAR_GZIPPED] = [1110 * KB, 436 * KB];
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'picolm-size-'));
/** The files of the package: { name, content, bytes, gzipped }. */
let files;

before(() => {
  const tarball = process.env.PICOLM_TARBALL ? path.resolve(process.env.PICOLM_TARBALL) : pack();
  execFileSync('tar', ['-xzf', tarball, '-C', folder]);
  const root = path.join(folder, 'package');
  const names = fs.readdirSync(root, { recursive: true }).filter((name) => fs.statSync(path.join(root, name)).isFile());
  files = names.map((name) => {
    const content = fs.readFileSync(path.join(root, name));
    return { name: name.replaceAll('\\', '/'), content, bytes: content.length, gzipped: gzipSync(content, { level: 9 }).length };
  });
});
after(() => fs.rmSync(folder, { recursive: true }));

test('four builds, each within its budget', (t) => {
  const builds = files.filter(({ name }) => name.endsWith('.wasm') && !isGrammar(name));
  assert.equal(builds.length, 4);
  for (const build of builds) within(t, build, WASM, WASM_GZIPPED);
});

test('the module for schemas and grammars within its own', (t) => {
  const modules = files.filter(({ name }) => isGrammar(name));
  assert.equal(modules.length, 1);
  within(t, modules[0], GRAMMAR, GRAMMAR_GZIPPED);
});

test('all JavaScript together at most 40 KB gzipped', (t) => {
  const scripts = files.filter(({ name }) => name.endsWith('.js'));
  const all = gzipSync(Buffer.concat(scripts.map(({ content }) => content)), { level: 9 }).length;
  t.diagnostic(`${scripts.length} scripts: ${sum(scripts, 'bytes')} bytes; gzipped ${all} together, ${sum(scripts, 'gzipped')} file by file`);
  assert.ok(all <= 40 * KB, scripts.map(({ name, gzipped }) => `${name}: ${gzipped}`).join('\n'));
});

test('the package at most 2 MB as it is downloaded', (t) => {
  const bytes = sum(files, 'gzipped');
  t.diagnostic(`${files.length} files: ${bytes} bytes`);
  assert.ok(bytes <= 2000 * KB, `${bytes} bytes`);
});

test('nothing is shipped but dist, the README, the licences and the manifest; no source maps, no tests', () => {
  const foreign = files.filter(({ name }) => !/^(package\.json|README\.md|LICENSE(-\w+)?|dist\/[\w/.-]+\.(js|d\.ts|wasm))$/.test(name));
  assert.deepEqual(foreign, []);
});

function isGrammar(name) {
  return name.endsWith('/grammar.wasm');
}

function within(t, { name, bytes, gzipped }, most, mostGzipped) {
  t.diagnostic(`${name}: ${bytes} bytes, ${gzipped} gzipped`);
  assert.ok(bytes <= most && gzipped <= mostGzipped, `${name}: ${bytes} bytes, ${gzipped} gzipped`);
}

function sum(list, field) {
  return list.reduce((total, file) => total + file[field], 0);
}

function pack() {
  const args = ['pack', '--silent', '--pack-destination', folder];
  const stdout = execFileSync('npm', args, { cwd: path.resolve(import.meta.dirname, '..'), encoding: 'utf8' });
  return path.join(folder, stdout.trim());
}
