// bun install && bun main.ts model.gguf "What is the capital of France?"     (a URL works as well as a path)
import { Engine } from 'picolm';

const [model = '', content = ''] = process.argv.slice(2);
const engine = await (/^https?:/.test(model) ? Engine.fromUrl(model) : Engine.fromFile(model));
const messages = [{ role: 'user', content }];
for await (const chunk of await engine.chat.completions.create({ messages, stream: true, temperature: 0, max_tokens: 64 })) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? '');
}
console.log();
console.error(`${engine.info.backend}, ${engine.info.threads} thread(s)`);
await engine.dispose();
