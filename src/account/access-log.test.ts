import { expect, test } from 'vitest';
import { Exchange } from '../exchange/index.ts';
import { AccessLines } from './access-log.ts';

const lines = new AccessLines(3);

test('access log: when an exchange reached an endpoint, its line is one JSON object with everything known', () => {
  const exchange = new Exchange();
  exchange.requestId = '0192';
  exchange.head.method = 'POST';
  exchange.head.path = '/v1/chat/completions';
  exchange.status = 200;
  exchange.closeCode = 'done';
  exchange.facts.model = 'qwen "2.5"\n✓';
  exchange.facts.isStream = true;
  exchange.poolName = 'local';
  exchange.endpointUrl = 'http://10.0.0.1:8000';
  exchange.promptTokens = 7;
  exchange.completionTokens = 0;
  exchange.startedMs = 100;
  exchange.firstByteMs = 112.3456;
  exchange.attempts = 2;
  exchange.responseBytes = 42;
  exchange.estimatedTokens = 8;
  exchange.matchedTokens = 0;
  exchange.headroom = 1750;
  const line = lines.line(exchange, 'public', 150, 'ECONNRESET');
  expect(line.endsWith('}\n')).toBe(true);
  expect(line.indexOf('\n')).toBe(line.length - 1);
  const { time, ...rest } = JSON.parse(line) as Record<string, unknown>;
  expect(typeof time).toBe('number');
  expect(rest).toEqual({
    level: 30,
    shard: 3,
    request_id: '0192',
    listener: 'public',
    method: 'POST',
    path: '/v1/chat/completions',
    status: 200,
    reason: 'done',
    origin: 'gateway',
    model: 'qwen "2.5"\n✓',
    pool: 'local',
    endpoint: 'http://10.0.0.1:8000',
    stream: true,
    request_bytes: 0,
    response_bytes: 42,
    prompt_tokens: 7,
    completion_tokens: 0,
    ttft_ms: 12.35,
    total_ms: 50,
    retries: 1,
    estimated_tokens: 8,
    matched_tokens: 0,
    headroom: 1750,
    detail: 'ECONNRESET',
    msg: 'access',
  });
});

test('access log: when an exchange was refused before routing, what it does not have is left out', () => {
  const exchange = new Exchange();
  exchange.closeCode = 'body_invalid';
  exchange.status = 400;
  const record = JSON.parse(lines.line(exchange, 'public', 1, '')) as Record<string, unknown>;
  expect(record).toMatchObject({ status: 400, reason: 'body_invalid', retries: 0 });
  for (const absent of [
    'model',
    'pool',
    'endpoint',
    'stream',
    'prompt_tokens',
    'ttft_ms',
    'estimated_tokens',
    'headroom',
    'detail',
  ]) {
    expect(record).not.toHaveProperty(absent);
  }
});
