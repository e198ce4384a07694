/** An id of 120 random bits. Not `randomUUID`: pages without https have none. */
export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(15))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

let last = 0;
/** Milliseconds since 1970, never the same twice: messages are in this order. */
export function now(): number {
  return (last = Math.max(Date.now(), last + 1));
}
