// A process of its own that downloads into a folder; tells of its progress, one JSON line each.
import { createHash } from 'node:crypto';
import { download } from '../../dist/store/index.js';
import { fileStore } from '../../dist/store/files.js';

function hasher() {
  const hash = createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}

const [folder, options] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const model = await download(fileStore(folder), { ...JSON.parse(options), hasher, progress: (progress) => say({ progress }) });
say({ model });
