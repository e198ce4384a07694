// deno install && deno run --allow-read --allow-write --allow-env --allow-sys --allow-net main.ts model.gguf "What is …?"
// (A URL works as well as a path. A path needs --allow-read only where the package and the model are.)
import { Engine } from 'picolm';

const [model = '', content = ''] = Deno.args;
const engine = await (/^https?:/.test(model) ? Engine.fromUrl(model) : Engine.fromFile(model));
const messages = [{ role: 'user', content }];
for await (const chunk of await engine.chat.completions.create({ messages, stream: true, temperature: 0, max_tokens: 64 })) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? '');
}
console.log();
console.error(`${engine.info.backend}, ${engine.info.threads} thread(s)`);
await engine.dispose();
