// Errors keep their code, their figures and their kind through a structured clone, as `postMessage` makes.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { PicolmError, abortError, fromErrorData, isAbort, throwIfAborted, toErrorData } from '../../dist/errors.js';

const sent = (error) => fromErrorData(structuredClone(toErrorData(error)));

test('ours', () => {
  const error = new PicolmError('quota_exceeded', 'Too little room.', { needed: 5, free: 3 }, new Error('cause'));
  const copy = sent(error);
  assert.ok(copy instanceof PicolmError);
  assert.deepEqual(
    [copy.name, copy.code, copy.message, copy.details],
    ['PicolmError', 'quota_exceeded', 'Too little room.', { needed: 5, free: 3 }],
  );
  assert.equal(error.cause.message, 'cause');
});

test('aborts', () => {
  for (const error of [abortError(), new DOMException('stop', 'AbortError'), sent(abortError('stop'))]) {
    const copy = sent(error);
    assert.ok(copy instanceof DOMException && isAbort(copy));
    assert.deepEqual([copy.name, copy.code, copy.message], ['AbortError', 'aborted', error.message]);
  }
  assert.throws(
    () => throwIfAborted(AbortSignal.abort('why')),
    (error) => isAbort(error) && error.cause === 'why',
  );
  throwIfAborted(undefined);
  throwIfAborted(new AbortController().signal);
});

test('anything else', () => {
  assert.deepEqual(
    [sent(new TypeError('x is not a function')).code, sent('text').message, sent(undefined).code],
    ['worker_failed', 'text', 'worker_failed'],
  );
});
