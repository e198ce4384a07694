// Runs a WebAssembly program in Node, as cargo's runner for wasm32-wasip1: node --no-warnings run_wasi.mjs PROGRAM ARGUMENTS...
// The file system is the machine's, read and written as the program asks: for tests of our own.
import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { WASI } from 'node:wasi';

// Node 20 has relaxed SIMD behind a flag, and its first compiler (Liftoff) adds up the relaxed dot of four wrongly.
if (process.version.startsWith('v20.')) {
  setFlagsFromString('--experimental-wasm-relaxed-simd');
  setFlagsFromString('--no-liftoff');
}
const [program, ...args] = process.argv.slice(2);
const wasi = new WASI({ version: 'preview1', args: [program, ...args], env: process.env, preopens: { '/': '/' } });
const module = await WebAssembly.compile(await readFile(program));
process.exit(wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject())));
