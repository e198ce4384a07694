/** What both entry points export. */
export { Engine } from './engine.js';
export { PicolmError, type ErrorCode } from './errors.js';
export { models } from './models.js';
export type { Progress, StoredModel } from './store/types.js';
export type * from './types.js';
