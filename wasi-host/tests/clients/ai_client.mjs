// The AI SDK (`ai`) with `@ai-sdk/openai-compatible` against the server at PICOLM_URL. Run by Node's test runner.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

const load = createRequire(`${process.env.NODE_MODULES}/`);
const { embed, generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } = load('ai');
const { createOpenAICompatible } = load('@ai-sdk/openai-compatible');
const { z } = load('zod');
const about = { name: 'picolm', baseURL: `${process.env.PICOLM_URL}/v1`, apiKey: process.env.PICOLM_KEY ?? 'none' };
const name = process.env.PICOLM_NAME;
const structured = createOpenAICompatible({ ...about, supportsStructuredOutputs: true, includeUsage: true });
const plain = createOpenAICompatible(about);
const ask = { model: structured(name), prompt: 'What is the capital of France?', temperature: 0, maxOutputTokens: 160, maxRetries: 0 };
const City = z.object({ name: z.string().max(12), continent: z.enum(['Africa', 'Asia', 'Europe']).nullable() });

test('text, whole and as a stream', async () => {
  const whole = await generateText({ ...ask, maxOutputTokens: 12 });
  assert.ok(whole.text);
  const parts = streamText({ ...ask, maxOutputTokens: 12 });
  assert.equal(await parts.text, whole.text);
  assert.equal((await parts.usage).outputTokens, whole.usage.outputTokens);
});

test('generateObject, streamObject: a value, a choice', async () => {
  const { object } = await generateObject({ ...ask, schema: City });
  assert.deepEqual(City.parse(object), object);
  const parts = streamObject({ ...ask, schema: City });
  let last;
  for await (const part of parts.partialObjectStream) last = part;
  assert.deepEqual(last, object);
  assert.deepEqual(await parts.object, object);
  const choice = await generateObject({ ...ask, output: 'enum', enum: ['Paris', 'Rome'] });
  assert.ok(['Paris', 'Rome'].includes(choice.object));
  const { output } = await generateText({ ...ask, output: Output.object({ schema: City }) });
  assert.deepEqual(output, object);
  const any = await generateObject({ ...ask, model: plain(name), output: 'no-schema' });
  assert.equal(typeof any.object, 'object');
});

test('tools, in steps, whole and as a stream', async () => {
  const asked = [];
  const tools = {
    look: tool({
      description: 'Looks at the sky.',
      inputSchema: z.object({ hour: z.union([z.literal(6), z.literal(12)]), city: z.string().max(6).optional() }),
      execute: ({ hour }) => {
        asked.push(hour);
        return { sky: 'clouds' };
      },
    }),
  };
  // The first step has to call, the second is told the result and has to say something.
  const steps = { ...ask, tools, maxOutputTokens: 40, stopWhen: stepCountIs(2), prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber ? 'none' : { type: 'tool', toolName: 'look' } }) };
  const whole = await generateText(steps);
  assert.equal(whole.steps.length, 2);
  assert.equal(whole.steps[0].finishReason, 'tool-calls');
  assert.deepEqual(whole.steps[0].toolResults.map((result) => result.output), whole.steps[0].toolCalls.map(() => ({ sky: 'clouds' })));
  assert.ok(whole.text && asked.length > 0 && asked.every((hour) => hour === 6 || hour === 12), `${asked}`);
  const parts = streamText(steps);
  assert.equal(await parts.text, whole.text);
  const called = (one) => one.steps.flatMap((step) => step.toolCalls.map(({ input, toolName }) => ({ input, toolName })));
  assert.deepEqual(called({ steps: await parts.steps }), called(whole));
});

test('embeddings', async () => {
  const { embedding } = await embed({ model: structured.embeddingModel(name), value: 'one' });
  assert.ok(embedding.length > 0);
});
