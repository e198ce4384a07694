/** Trusted types: scripts and workers only from this origin; text never becomes code or markup but through lit and DOMPurify. */
interface Policies {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): unknown;
}

const { trustedTypes } = globalThis as { trustedTypes?: Policies };
trustedTypes?.createPolicy('default', {
  createScriptURL(url) {
    if (new URL(url, document.baseURI).origin === location.origin) return url;
    throw new TypeError(`${url} is not a script of this page`);
  },
});
