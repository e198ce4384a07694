/** Where the page begins: settings, then the conversations, then the models; each is shown as soon as it is there. */
import './app/trusted';
import './styles/index.css';
import './components/app';
import { loadConversations, openConversation, seenElsewhere } from './app/conversations';
import { watchKeys } from './app/keys';
import { loadModels, openLast } from './app/models';
import { notify } from './app/notices';
import { loadSettings } from './app/settings';
import { current, update } from './app/state';
import { watchTabs } from './app/tabs';
import { registerWorker, watchBrowser } from './app/worker';
import { failureOf } from './app/errors';

async function begin(): Promise<void> {
  watchBrowser();
  watchKeys();
  try {
    await Promise.all([loadSettings(), loadConversations()]);
  } catch (error) {
    // Some private windows have no database: one can chat all the same.
    notify(failureOf(error).message, { kind: 'error' });
  }
  addEventListener('hashchange', () => {
    const id = location.hash.slice(1);
    if (id && id !== current().current?.id) void openConversation(id);
  });
  await watchTabs((changed) => void seenElsewhere(changed).catch(() => {}));
  if (location.hash) await openConversation(location.hash.slice(1));
  void registerWorker();
  await loadModels().catch((error: unknown) => notify(failureOf(error).message, { kind: 'error' }));
  update({ ready: true });
  await openLast();
}

void begin();
