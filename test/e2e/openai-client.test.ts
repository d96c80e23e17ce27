import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExitError, freePort, untilBound } from '../rig/gateway-process.ts';

// The official client, unchanged, against what `npm start` runs.
let demo: ChildProcess;
let client: OpenAI;
let adminUrl: string;
const model = 'demo-model';

beforeAll(() => untilBound(startDemo));

async function startDemo(): Promise<void> {
  const port = await freePort();
  const adminPort = await freePort();
  const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
  demo = spawn(
    process.execPath,
    [cli, 'demo', '--port', String(port), '--admin-port', String(adminPort), '--speed', '20'],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  adminUrl = `http://127.0.0.1:${adminPort}`;
  client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'sk-any', maxRetries: 0, timeout: 15_000 });
  for (;;) {
    const isReady = await fetch(`${adminUrl}/ready`).then(
      (response) => response.status === 200,
      () => false,
    );
    if (isReady) return;
    if (demo.exitCode !== null) throw new ExitError(demo.exitCode, '');
    await delay(50);
  }
}

afterAll(async () => {
  if (demo.exitCode !== null) return;
  const exited = once(demo, 'exit');
  demo.kill('SIGTERM');
  await exited;
});

test('openai client: when a chat completion is asked for, it is parsed whole, with usage', async () => {
  const completion = await client.chat.completions.create({
    model,
    max_tokens: 12,
    messages: [{ role: 'user', content: 'Hello.' }],
  });
  expect(completion.object).toBe('chat.completion');
  expect(completion.choices[0]?.message.content?.length).toBeGreaterThan(0);
  expect(completion.usage?.completion_tokens).toBe(12);
});

test('openai client: when a stream is asked for, chunks come one by one and end cleanly', async () => {
  const stream = await client.chat.completions.create({
    model,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: 20,
    messages: [{ role: 'user', content: 'Count.' }],
  });
  let text = '';
  let finishReason: string | null = null;
  let completionTokens = 0;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? '';
    finishReason = chunk.choices[0]?.finish_reason ?? finishReason;
    completionTokens = chunk.usage?.completion_tokens ?? completionTokens;
  }
  expect(text.length).toBeGreaterThan(0);
  expect(finishReason).toBe('length');
  expect(completionTokens).toBe(20);
});

test('openai client: when a tool is required, the call arrives with JSON arguments', async () => {
  const completion = await client.chat.completions.create({
    model,
    messages: [{ role: 'user', content: 'What is the weather in Bergen?' }],
    tools: [
      {
        type: 'function',
        function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
      },
    ],
    tool_choice: 'required',
  });
  const call = completion.choices[0]?.message.tool_calls?.[0];
  expect(call?.type).toBe('function');
  if (call?.type === 'function') {
    expect(call.function.name).toBe('weather');
    expect(() => JSON.parse(call.function.arguments) as unknown).not.toThrow();
  }
});

test('openai client: when models are listed, the configured ones are there', async () => {
  const models = await client.models.list();
  expect(models.data.map(({ id }) => id)).toContain(model);
  expect((await client.models.retrieve(model)).id).toBe(model);
});

test('openai client: when embeddings are asked for, vectors arrive', async () => {
  const { data } = await client.embeddings.create({ model, input: ['one', 'two'] });
  expect(data).toHaveLength(2);
  expect(data[0]!.embedding.length).toBeGreaterThan(8);
  expect(data[0]!.embedding.every(Number.isFinite)).toBe(true);
});

test('openai client: when an unknown model is asked for with a default pool, the engine answers for itself', async () => {
  const asked = client.chat.completions.create({ model: 'nope', messages: [{ role: 'user', content: 'x' }] });
  await expect(asked).rejects.toBeInstanceOf(OpenAI.NotFoundError);
});

test('openai client: when a stream is aborted, the gateway holds nothing of it', async () => {
  const stream = await client.chat.completions.create({
    model,
    stream: true,
    max_tokens: 4000,
    messages: [{ role: 'user', content: 'Long.' }],
  });
  for await (const _ of stream) break; // The iterator aborts the request.
  stream.controller.abort();
  await expect
    .poll(async () => {
      const { outstanding } = (await (await fetch(`${adminUrl}/leases`)).json()) as {
        outstanding: Record<string, number>;
      };
      return Object.values(outstanding).reduce((sum, count) => sum + count, 0);
    })
    .toBe(0);
});
