/** The service worker: keeps the page for when there is no network, and isolates it where the host does not. */
import { t } from '../i18n';
import { notify } from './notices';
import { current, update } from './state';

const RELOADED = 'picolm:reloaded';

/**
 * Registers it. A page that is not cross-origin isolated is loaded once more, through the worker, which adds the headers that
 * isolation takes; more threads are worth it. It happens before anything has begun, and the page says that it did; later it asks.
 */
export async function registerWorker(): Promise<void> {
  if (!('serviceWorker' in navigator) || import.meta.env.DEV) return;
  if (sessionStorage.getItem(RELOADED) === 'now') {
    sessionStorage.setItem(RELOADED, 'before');
    notify(t(crossOriginIsolated ? 'worker.reloaded' : 'worker.not_isolated'));
  }
  try {
    const registration = await navigator.serviceWorker.register(new URL('sw.js', document.baseURI).href);
    offerUpdates(registration);
    await navigator.serviceWorker.ready;
  } catch {
    // A host without https: the page works, but only with a network and on one thread.
    return;
  }
  if (crossOriginIsolated || sessionStorage.getItem(RELOADED)) return;
  const reload = () => {
    sessionStorage.setItem(RELOADED, 'now');
    location.reload();
  };
  if (!busy()) reload();
  else notify(t('worker.reload'), { action: { label: t('step.reload'), run: reload } });
}

/** Whether something has begun that a reload would end. */
function busy(): boolean {
  const { transfers, answer } = current();
  const typed = document.querySelector<HTMLTextAreaElement>('#prompt')?.value;
  return Object.keys(transfers).length > 0 || answer !== undefined || Boolean(typed);
}

/** A new version is there: whoever likes takes it now, everybody else the next time. */
function offerUpdates(registration: ServiceWorkerRegistration): void {
  const offer = (worker: ServiceWorker | null) => {
    if (!worker || !navigator.serviceWorker.controller) return;
    const run = () => {
      navigator.serviceWorker.addEventListener('controllerchange', () => location.reload());
      worker.postMessage('take over');
    };
    notify(t('worker.update'), { action: { label: t('step.reload'), run } });
  };
  offer(registration.waiting);
  registration.addEventListener('updatefound', () => {
    const { installing } = registration;
    installing?.addEventListener('statechange', () => installing.state === 'installed' && offer(registration.waiting));
  });
}

/** The network, and the browser's offer to install the page. */
export function watchBrowser(): void {
  addEventListener('online', () => update({ online: true }));
  addEventListener('offline', () => update({ online: false }));
  addEventListener('beforeinstallprompt', (event) => {
    event.preventDefault();
    const offer = event as Event & { prompt(): Promise<unknown> };
    update({ install: () => void offer.prompt().finally(() => update({ install: undefined })) });
  });
}
