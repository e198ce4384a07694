// node requests.mjs MODEL [OPTIONS]: reads requests as `picolm_engine::Request` has them, JSON, one a line, and prints the answers as
// `picolm_engine::Answer` writes them, or { error }. The package of dist/ answers; OPTIONS are those of `Engine.fromFile`, as JSON.
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { PicolmError } from '../dist/node.js';
import { RemoteWorker } from '../dist/rpc.js';

const [model, options = '{}'] = process.argv.slice(2);
const worker = new RemoteWorker();
await worker.call('open', { source: { files: [model] }, options: { threads: 1, ...JSON.parse(options) } });

async function answer(request) {
  const answer = { text: '', tokens: [], logprobs: [] };
  let embedding;
  const event = (part) => {
    if ('text' in part) {
      answer.text += part.text;
      if (part.token !== null) answer.tokens.push(part.token);
      if (part.logprobs) answer.logprobs.push(part.logprobs);
    } else if ('finish_reason' in part) Object.assign(answer, { finish_reason: part.finish_reason, usage: part.usage });
    else if ('embedding' in part) embedding = part;
  };
  await worker.call('generate', request, { event });
  return embedding ?? answer;
}

for await (const line of createInterface({ input: process.stdin })) {
  const said = await answer(JSON.parse(line)).catch(({ code, message, details }) => ({ error: { code, field: details?.field, message } }));
  if (!process.stdout.write(`${JSON.stringify(said)}\n`)) await once(process.stdout, 'drain');
}
worker.end(new PicolmError('disposed', 'There are no more requests.'));
