// The engine needs a page (a tab, a side panel, an offscreen document): a service worker cannot start workers.
chrome.action.onClicked.addListener(() => chrome.tabs.create({ url: 'page.html' }));
