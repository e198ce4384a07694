import { Engine } from 'picolm';

// The form of the page asks by reloading it: ?model=https://…/model.gguf&prompt=…
const { model, prompt } = Object.fromEntries(new URLSearchParams(location.search));
const [output, status] = document.querySelectorAll('output, [role=status]');
const say = (text) => (status.textContent = text);

async function answer() {
  const engine = await Engine.fromUrl(model, { progress: ({ phase, loaded }) => say(`${phase}: ${loaded} bytes`) });
  const messages = [{ role: 'user', content: prompt }];
  for await (const chunk of await engine.chat.completions.create({ messages, stream: true, temperature: 0, max_tokens: 64 })) {
    output.textContent += chunk.choices[0].delta.content ?? '';
  }
  say(`${engine.info.backend}, ${engine.info.threads} thread(s). ${engine.info.threadsWhy ?? ''}`);
}
if (model) answer().catch((error) => say(`${error.code}: ${error.message}`));
