/* oxlint-disable typescript/no-unsafe-type-assertion -- Answers are JSON; what they hold is what the tests check. */
import { Agent, request as httpRequest } from 'node:http';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startSim } from './server.ts';
import type { Sim } from './server.ts';

const model = 'harbour-8b';
let sim: Sim;
let client: OpenAI;
beforeAll(async () => {
  sim = await startSim({
    name: 'a',
    speed: 0,
    models: [model],
    loraAdapters: ['harbour-ops'],
    unixMs: () => 1_762_000_000_000,
  });
  client = new OpenAI({ baseURL: `${sim.url}/v1`, apiKey: 'none', maxRetries: 0 });
});
afterAll(() => sim.close());

type Json = Record<string, unknown>;

function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(sim.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

async function postJson(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Json> {
  const response = await post(path, body, headers);
  expect(response.status, await response.clone().text()).toBe(200);
  return (await response.json()) as Json;
}

/** Data lines of an event stream; JSON except `[DONE]`. */
async function events(path: string, body: Json, headers: Record<string, string> = {}): Promise<(Json | '[DONE]')[]> {
  const response = await post(path, { ...body, stream: true }, headers);
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  return (await response.text())
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => {
      const data = /^data: (.*)$/m.exec(event)![1]!;
      return data === '[DONE]' ? data : (JSON.parse(data) as Json);
    });
}

const hello = { model, messages: [{ role: 'user', content: 'When does the tide turn in the harbour this evening?' }] };
const tool = {
  type: 'function',
  function: {
    name: 'service_due',
    parameters: { type: 'object', properties: { unit: { type: 'string' }, days: { type: 'integer' } } },
  },
} as const;

test('chat: when streamed with usage, the chunks are role, one a token, finish reason, usage, [DONE]', async () => {
  const body = { ...hello, stream_options: { include_usage: true } };
  const all = await events('/v1/chat/completions', body, { 'x-sim-tokens': '30', 'x-request-id': 'r-1' });
  expect(all.at(-1)).toBe('[DONE]');
  const chunks = all.slice(0, -1) as Json[];
  expect(chunks.length).toBe(1 + 30 + 1 + 1);
  const common = { id: 'chatcmpl-r-1', object: 'chat.completion.chunk', created: 1_762_000_000, model };
  expect(chunks[0]).toEqual({
    ...common,
    prompt_token_ids: null,
    choices: [{ index: 0, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }],
  });
  expect(chunks[1]).toEqual({
    ...common,
    choices: [{ index: 0, delta: { content: expect.any(String) as string }, logprobs: null, finish_reason: null }],
  });
  expect(chunks.at(-2)).toEqual({
    ...common,
    choices: [{ index: 0, delta: { content: '' }, logprobs: null, finish_reason: 'stop', stop_reason: null }],
  });
  const usage = chunks.at(-1)!['usage'] as Record<string, number>;
  expect(chunks.at(-1)).toEqual({ ...common, choices: [], usage });
  expect(usage['completion_tokens']).toBe(30);
  expect(usage['total_tokens']).toBe(usage['prompt_tokens']! + 30);
  const tokenized = await postJson('/tokenize', hello);
  expect(tokenized['count'], '/tokenize counts what the engine bills').toBe(usage['prompt_tokens']);
});

test('chat: when usage is continuous, every chunk carries the numbers so far', async () => {
  const body = { ...hello, stream_options: { include_usage: true, continuous_usage_stats: true } };
  const all = (await events('/v1/chat/completions', body, { 'x-sim-tokens': '3' })).slice(0, -1) as Json[];
  expect(all.map((chunk) => (chunk['usage'] as Json)['completion_tokens'])).toEqual([1, 1, 2, 3, 3, 3]);
});

test('chat: when the same request is sent twice, the text is the same and the second finds the prefix', async () => {
  const long = { model, messages: [{ role: 'user', content: 'the pump and the valve '.repeat(100) }] };
  const first = await client.chat.completions.create(long as never);
  const second = await client.chat.completions.create(long as never);
  expect(second.choices[0]!.message.content).toBe(first.choices[0]!.message.content);
  expect(first.usage!.prompt_tokens_details!.cached_tokens).toBe(0);
  const blocks = Math.floor((second.usage!.prompt_tokens - 1) / 16);
  expect(second.usage!.prompt_tokens_details!.cached_tokens).toBe(blocks * 16);
  const streamed = await events('/v1/chat/completions', long);
  const text = (streamed.slice(0, -1) as { choices: { delta: { content?: string } }[] }[])
    .map((chunk) => chunk.choices[0]?.delta.content ?? '')
    .join('');
  expect(text, 'a stream says what a plain answer says').toBe(first.choices[0]!.message.content);
});

test('chat: when an answer comes back as history, its tokens are found too', async () => {
  const answer = await client.chat.completions.create({ ...hello, max_tokens: 200 } as never, {
    headers: { 'x-sim-tokens': '160' },
  });
  const next = await client.chat.completions.create({
    model,
    messages: [...hello.messages, answer.choices[0]!.message, { role: 'user', content: 'And tomorrow?' }],
  } as never);
  expect(next.usage!.prompt_tokens_details!.cached_tokens).toBeGreaterThan(answer.usage!.prompt_tokens + 140);
});

test('chat: when limits are set, they end the text', async () => {
  const cut = await client.chat.completions.create({ ...hello, max_completion_tokens: 5 } as never);
  expect(cut.choices[0]!.finish_reason).toBe('length');
  expect(cut.usage!.completion_tokens).toBe(5);
  const whole = await client.chat.completions.create(hello as never);
  const word = / [a-z]{4,}/.exec(whole.choices[0]!.message.content!.slice(40))![0];
  const stopped = await client.chat.completions.create({ ...hello, stop: [word] } as never);
  const content = stopped.choices[0]!.message.content!;
  expect(content).toBe(whole.choices[0]!.message.content!.slice(0, whole.choices[0]!.message.content!.indexOf(word)));
  expect(stopped.choices[0]!.finish_reason).toBe('stop');
  expect((stopped.choices[0] as unknown as Json)['stop_reason']).toBe(word);
  expect(stopped.usage!.completion_tokens).toBeLessThan(whole.usage!.completion_tokens);
});

test('chat: when n is 2, choices differ, and the prompt is billed once', async () => {
  const both = await client.chat.completions.create({ ...hello, n: 2, max_tokens: 20 } as never);
  const one = await client.chat.completions.create({ ...hello, max_tokens: 20 } as never);
  expect(both.choices.map((choice) => choice.index)).toEqual([0, 1]);
  expect(both.choices[0]!.message.content).toBe(one.choices[0]!.message.content);
  expect(both.choices[1]!.message.content).not.toBe(one.choices[0]!.message.content);
  expect(both.usage!.prompt_tokens).toBe(one.usage!.prompt_tokens);
  expect(both.usage!.completion_tokens).toBe(40);
});

test('chat: when a tool is to be called, its arguments are streamed in pieces that join to JSON of its schema', async () => {
  const body = { ...hello, tools: [tool], tool_choice: 'required' };
  const answer = await client.chat.completions.create(body as never);
  const call = answer.choices[0]!.message.tool_calls![0] as {
    id: string;
    function: { name: string; arguments: string };
  };
  expect(answer.choices[0]!.finish_reason).toBe('tool_calls');
  expect(answer.choices[0]!.message.content).toBe(null);
  expect(JSON.parse(call.function.arguments)).toEqual({
    unit: expect.any(String) as string,
    days: expect.any(Number) as number,
  });
  const stream = client.chat.completions.stream(body as never);
  let pieceCount = 0;
  stream.on('tool_calls.function.arguments.delta', () => pieceCount++);
  const streamed = await stream.finalChatCompletion();
  expect(streamed.choices[0]!.finish_reason).toBe('tool_calls');
  expect(streamed.choices[0]!.message.tool_calls![0]).toMatchObject({ id: call.id, function: call.function });
  expect(pieceCount).toBeGreaterThan(3);
  const auto = await client.chat.completions.create({ ...hello, tools: [tool] } as never);
  expect(auto.choices[0]!.finish_reason, 'auto calls only when the last user message says so').toBe('stop');
  const messages = [{ role: 'user', content: 'Please call the tool now.' }];
  const asked = await client.chat.completions.create({ model, messages, tools: [tool] } as never);
  expect(asked.choices[0]!.finish_reason).toBe('tool_calls');
});

test('chat: when JSON is asked for, the text is JSON', async () => {
  const free = await client.chat.completions.create({ ...hello, response_format: { type: 'json_object' } } as never);
  expect(JSON.parse(free.choices[0]!.message.content!)).toBeTypeOf('object');
  const schema = { type: 'object', properties: { unit: { enum: ['B-17', 'C-02'] } } };
  const format = { type: 'json_schema', json_schema: { name: 'unit', schema } };
  const fitted = await client.chat.completions.create({ ...hello, response_format: format } as never);
  expect(['B-17', 'C-02']).toContain((JSON.parse(fitted.choices[0]!.message.content!) as Json)['unit']);
});

test('openai client: when used directly, chat streams, completions, embeddings and models work', async () => {
  const stream = await client.chat.completions.create({
    ...hello,
    stream: true,
    stream_options: { include_usage: true },
  } as never);
  let text = '';
  let total = 0;
  for await (const chunk of stream as unknown as AsyncIterable<OpenAI.ChatCompletionChunk>) {
    text += chunk.choices[0]?.delta.content ?? '';
    total = chunk.usage?.total_tokens ?? total;
  }
  expect(text.length).toBeGreaterThan(20);
  expect(total).toBeGreaterThan(30);
  const completion = await client.completions.create({ model, prompt: ['The tide', 'The crane'], max_tokens: 8 });
  expect(completion.choices.map((choice) => [choice.index, choice.finish_reason])).toEqual([
    [0, 'length'],
    [1, 'length'],
  ]);
  expect(completion.usage!.completion_tokens).toBe(16);
  const embedded = await client.embeddings.create({ model, input: ['pump B-17', 'valve C-02'] });
  const asFloats = await client.embeddings.create({ model, input: ['pump B-17'], encoding_format: 'float' });
  expect(
    embedded.data.map((row) => row.embedding.length),
    'base64 is what the client asks for by default',
  ).toEqual([64, 64]);
  for (const [index, value] of asFloats.data[0]!.embedding.entries()) {
    expect(embedded.data[0]!.embedding[index]).toBeCloseTo(value, 6);
  }
  const models = await client.models.list();
  expect(models.data.map((card) => [card.id, (card as unknown as Json)['parent']])).toEqual([
    [model, null],
    ['harbour-ops', model],
  ]);
});

test('completions: when streamed with token ids and echo, the prompt comes first and usage last', async () => {
  const { tokens } = await postJson('/tokenize', { model, prompt: 'The tide turns', add_special_tokens: false });
  const body = { model, prompt: tokens, echo: true, max_tokens: 4, stream_options: { include_usage: true } };
  const all = await events('/v1/completions', body);
  const chunks = all.slice(0, -1) as { choices: { text: string; finish_reason: string | null }[]; usage?: Json }[];
  expect(chunks[0]!.choices[0]!.text).toBe('The tide turns');
  expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe('length');
  expect(chunks.at(-1)!.usage).toMatchObject({ prompt_tokens: (tokens as number[]).length, completion_tokens: 4 });
});

test('responses: when streamed, events come in order, numbered, and deltas join to the final text', async () => {
  const response = await client.responses.create({ model, input: 'When is pump B-17 due?' } as never);
  const stream = await client.responses.create({ model, input: 'When is pump B-17 due?', stream: true } as never);
  const types: string[] = [];
  let text = '';
  let number = 0;
  let final: OpenAI.Responses.Response | null = null;
  for await (const event of stream as unknown as AsyncIterable<OpenAI.Responses.ResponseStreamEvent>) {
    expect(event.sequence_number).toBe(number++);
    if (types.at(-1) !== event.type) types.push(event.type);
    if (event.type === 'response.output_text.delta') text += event.delta;
    if (event.type === 'response.completed') final = event.response;
  }
  expect(types).toEqual([
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ]);
  expect(text).toBe((response as unknown as { output: { content: { text: string }[] }[] }).output[0]!.content[0]!.text);
  expect(final!.usage!.output_tokens).toBe(response.usage!.output_tokens);
  const cut = await client.responses.create({ model, input: 'x', max_output_tokens: 3 } as never);
  expect([cut.status, cut.incomplete_details!.reason]).toEqual(['incomplete', 'max_output_tokens']);
});

test('responses: when a function is required, the item is a function call', async () => {
  const tools = [{ type: 'function', name: 'service_due', parameters: tool.function.parameters }];
  const all = await events('/v1/responses', { model, input: 'x', tools, tool_choice: 'required' });
  const types = [...new Set((all as Json[]).map((event) => event['type']))];
  expect(types.slice(2, 5)).toEqual([
    'response.output_item.added',
    'response.function_call_arguments.delta',
    'response.function_call_arguments.done',
  ]);
});

test('messages: when streamed, blocks and running usage follow Anthropic, cached tokens outside input_tokens', async () => {
  const content = 'When is the pump due, and who is on shift? '.repeat(10);
  const body = { model, max_tokens: 12, messages: [{ role: 'user', content }] };
  const plain = await postJson('/v1/messages', body);
  expect(plain).toMatchObject({ type: 'message', role: 'assistant', stop_reason: 'max_tokens' });
  const { input_tokens: first } = plain['usage'] as Record<string, number>;
  const all = (await events('/v1/messages', body)) as Json[];
  expect([...new Set(all.map((event) => event['type']))]).toEqual([
    'message_start',
    'content_block_start',
    'ping',
    'content_block_delta',
    'content_block_stop',
    'message_delta',
    'message_stop',
  ]);
  const usage = all.at(-2)!['usage'] as Record<string, number>;
  expect(usage['output_tokens']).toBe(12);
  expect(usage['cache_read_input_tokens']).toBeGreaterThan(0);
  expect(usage['input_tokens']! + usage['cache_read_input_tokens']!).toBe(first);
  const counted = await postJson('/v1/messages/count_tokens', body);
  expect(counted['input_tokens']).toBe(first);
  const wrong = await post('/v1/messages', { model: 'nope', max_tokens: 1, messages: body.messages });
  expect(wrong.status).toBe(404);
  expect(await wrong.json()).toMatchObject({ type: 'error', error: { type: 'not_found_error' } });
});

test('messages: when a tool is forced, a tool_use block carries its input', async () => {
  const tools = [{ name: 'service_due', input_schema: tool.function.parameters }];
  const body = { model, max_tokens: 99, messages: hello.messages, tools, tool_choice: { type: 'any' } };
  const plain = await postJson('/v1/messages', body);
  expect(plain['stop_reason']).toBe('tool_use');
  const all = (await events('/v1/messages', body)) as { type: string; delta?: { partial_json?: string } }[];
  const joined = all.map((event) => event.delta?.partial_json ?? '').join('');
  expect((plain['content'] as Json[])[0]!['input']).toEqual(JSON.parse(joined));
});

test('pooling: when documents are ranked, the one that shares words comes first; top_n cuts', async () => {
  const documents = ['Strainer cleaning log', 'Crane timetable', 'Suction noise of the pump'];
  const ranked = await postJson('/v1/rerank', { model, query: 'pump noise', documents, top_n: 2 });
  const results = ranked['results'] as { index: number; relevance_score: number }[];
  expect(results.length).toBe(2);
  expect(results[0]!.index).toBe(2);
  const scored = await postJson('/score', { model, queries: 'pump noise', documents });
  expect((scored['data'] as Json[]).length).toBe(3);
});

test('errors: when a request is wrong, the answer has the status and the shape of vLLM', async () => {
  const cases: [string, unknown, number, string][] = [
    ['/v1/chat/completions', '{', 400, 'BadRequestError'],
    ['/v1/chat/completions', { model }, 400, 'BadRequestError'],
    ['/v1/chat/completions', { ...hello, model: 'no-such-model' }, 404, 'NotFoundError'],
    ['/v1/chat/completions', { ...hello, max_tokens: 3_000_000 }, 400, 'BadRequestError'],
    ['/v1/embeddings', { model, input: [] }, 422, 'UnprocessableEntityError'],
  ];
  for (const [path, body, status, type] of cases) {
    const response = await post(path, body);
    expect(response.status).toBe(status);
    expect(response.headers.get('x-sim-endpoint')).toBe('a');
    expect(await response.json()).toEqual({
      error: {
        message: expect.any(String) as string,
        type,
        param: expect.toSatisfy(() => true) as unknown,
        code: status,
      },
    });
  }
  const wrongMethod = await fetch(`${sim.url}/v1/chat/completions`);
  expect([wrongMethod.status, wrongMethod.headers.get('allow')]).toEqual([405, 'POST']);
  expect((await fetch(`${sim.url}/nothing/here`)).status).toBe(404);
});

test('reports: when asked, health, version, load, tokens and the load header answer as vLLM', async () => {
  const health = await fetch(`${sim.url}/health`);
  expect([health.status, await health.text()]).toEqual([200, '']);
  expect((await fetch(`${sim.url}/ping`, { method: 'POST' })).status).toBe(200);
  expect(await (await fetch(`${sim.url}/version`)).json()).toEqual({ version: expect.any(String) as string });
  expect(await (await fetch(`${sim.url}/load`)).json()).toEqual({ server_load: 0 });
  const { tokens } = await postJson('/tokenize', { model, prompt: 'Tide at six.' });
  expect(await postJson('/detokenize', { model, tokens })).toEqual({ prompt: 'Tide at six.' });
  const reported = await post('/v1/chat/completions', hello, { 'endpoint-load-metrics-format': 'TEXT' });
  expect(reported.headers.get('endpoint-load-metrics')).toBe(
    'TEXT named_metrics.kv_cache_usage_perc=0, named_metrics.num_requests_waiting=0.0',
  );
});

test('adapters: when one is used or loaded, it is served apart from its base, and named in the metrics', async () => {
  const own = await startSim({ name: 'b', speed: 0, models: [model] });
  const at = (path: string, body: unknown): Promise<Response> =>
    fetch(own.url + path, { method: 'POST', body: JSON.stringify(body) });
  expect((await at('/v1/chat/completions', { ...hello, model: 'ops' })).status).toBe(404);
  const loaded = await at('/v1/load_lora_adapter', { lora_name: 'ops', lora_path: '/adapters/ops' });
  expect(await loaded.text()).toBe("Success: LoRA adapter 'ops' added successfully.");
  const long = { model, messages: [{ role: 'user', content: 'tide '.repeat(200) }] };
  await at('/v1/chat/completions', long);
  const answer = (await (await at('/v1/chat/completions', { ...long, model: 'ops' })).json()) as {
    usage: { prompt_tokens_details: { cached_tokens: number } };
  };
  expect(answer.usage.prompt_tokens_details.cached_tokens, 'KV of an adapter is its own').toBe(0);
  expect((await at('/v1/unload_lora_adapter', { lora_name: 'ops' })).status).toBe(200);
  await own.close();
});

test('metrics: when scraped, every line is a comment or a sample, and the counters agree with the stats', async () => {
  const page = await (await fetch(`${sim.url}/metrics`)).text();
  const values = new Map<string, number>();
  for (const line of page.trimEnd().split('\n')) {
    if (line.startsWith('# ')) continue;
    const [, series, value] = /^([a-z0-9_:]+(?:\{[^}]*\})?) (\S+)$/i.exec(line) ?? [];
    expect(value, line).toBeDefined();
    values.set(series!, Number(value));
  }
  const labels = `{engine="0",model_name="${model}"}`;
  const stats = sim.stats();
  expect(values.get(`vllm:prompt_tokens_total${labels}`)).toBe(stats.promptTokens);
  expect(values.get(`vllm:generation_tokens_total${labels}`)).toBe(stats.completionTokens);
  expect(values.get(`vllm:prefix_cache_queries_total${labels}`)).toBe(stats.prefixQueryTokens);
  expect(values.get(`vllm:prefix_cache_hits_total${labels}`)).toBe(stats.prefixHitTokens);
  expect(values.get(`vllm:kv_cache_usage_perc${labels}`)).toBe(0);
  expect(values.get(`vllm:request_success_total{engine="0",model_name="${model}",finished_reason="stop"}`)).toBe(
    stats.finished.stop,
  );
  const bucket = `vllm:time_to_first_token_seconds_bucket{engine="0",model_name="${model}",le="+Inf"}`;
  expect(values.get(bucket)).toBe(values.get(`vllm:time_to_first_token_seconds_count${labels}`));
  expect(page).toMatch(/^process_start_time_seconds \d{10}\.\d+$/m);
  expect(page).toMatch(/^vllm:cache_config_info\{block_size="16",.*num_gpu_blocks="131072"\} 1\.0$/m);
  expect(page).toContain('sim_aborted_total{phase="decode"} 0.0');
});

test('server: when a 3 MB prompt is asked at speed 0, the answer takes less than 300 ms', async () => {
  const body = JSON.stringify({
    model,
    messages: [{ role: 'user', content: 'the pump at the north pier '.repeat(111_111) }],
  });
  expect(body.length).toBeGreaterThan(2_999_000);
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    const startMs = performance.now();
    expect((await post('/v1/chat/completions', body)).status).toBe(200);
    times.push(performance.now() - startMs);
  }
  expect(Math.min(...times)).toBeLessThan(300);
});

test('server: when connections are kept alive, they are reused, and no keep-alive hint is given', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const before = sim.stats().connectionsTotal;
  for (let round = 0; round < 3; round++) {
    const headers = await new Promise<Record<string, unknown>>((resolve, reject) => {
      httpRequest(`${sim.url}/version`, { agent }, (response) => {
        response.resume().on('end', () => resolve(response.headers));
      })
        .on('error', reject)
        .end();
    });
    expect(headers).not.toHaveProperty('keep-alive');
  }
  expect(sim.stats().connectionsTotal - before).toBe(1);
  agent.destroy();
});
