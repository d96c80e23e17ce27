import { expect, test } from 'vitest';
import { Random } from '../sim/random.ts';
import { BusyClock } from './busy-clock.ts';

/** One endpoint, as the shards see it: they share its counts, and have a clock each. */
function endpoint(shardCount = 1) {
  const clocks = Array.from({ length: shardCount }, () => new BusyClock());
  const shared = { nowMs: 1000, inflight: 0, pendingTokens: 0, promptMicros: 0 };
  const advance = (shard: number): BusyClock => {
    clocks[shard]!.advance(shared.nowMs, shared);
    return clocks[shard]!;
  };
  /** A stream, as the meter does it. `aloneMs`: what its prompt takes at most. */
  const send = (tokens: number, aloneMs = Number.POSITIVE_INFINITY, shard = 0) => {
    const clock = advance(shard);
    const fromToken = clock.tokenMs;
    let fromAnswer = 0;
    let promptMs = 0;
    shared.inflight++;
    shared.pendingTokens += tokens;
    clock.begin();
    return {
      firstToken(): void {
        advance(shard);
        promptMs = Math.min(aloneMs, tokens * (clock.tokenMs - fromToken));
        shared.promptMicros = (shared.promptMicros + Math.round(promptMs * 1000)) | 0;
        shared.pendingTokens -= tokens;
        fromAnswer = clock.answerMs;
        clock.beginAnswer();
      },
      look: (): void => void advance(shard),
      end(): { readonly promptMs: number; readonly answerMs: number; readonly ms: number } {
        advance(shard);
        clock.end(true);
        shared.inflight--;
        const answerMs = clock.answerMs - fromAnswer;
        return { promptMs, answerMs, ms: promptMs + answerMs };
      },
    };
  };
  const pass = (ms: number): void => void (shared.nowMs += ms);
  return { shared, send, pass };
}

test('busy clock: when a request is alone, all of the time is its own', () => {
  const { send, pass } = endpoint();
  pass(5000);
  const one = send(1000);
  pass(300);
  one.firstToken();
  pass(700);
  const { promptMs, ms } = one.end();
  expect(promptMs).toBeCloseTo(300);
  expect(ms).toBeCloseTo(1000);
});

test('busy clock: when prompts wait at once, the time is theirs by their tokens, and the sum is what went by', () => {
  const { send, pass } = endpoint();
  const long = send(30_000);
  const short = send(10_000);
  pass(400);
  short.firstToken();
  const shortMs = short.end().promptMs;
  pass(600);
  long.firstToken();
  const longMs = long.end().promptMs;
  expect([shortMs, longMs]).toEqual([expect.closeTo(100), expect.closeTo(900)]);
});

test('busy clock: when a prompt waits for a place rather than being computed, it is charged no more than it takes alone', () => {
  const { send, pass } = endpoint();
  const one = send(1000, 50);
  pass(10_000);
  one.firstToken();
  expect(one.end().ms).toBeCloseTo(50);
});

test('busy clock: when answers are written at once, they share the time in equal parts, over all shards', () => {
  const { send, pass } = endpoint(2);
  const all = [send(1, 0, 0), send(1, 0, 0), send(1, 0, 1), send(1, 0, 1)];
  for (const each of all) each.firstToken();
  for (let count = 0; count < 100; count++) {
    pass(10);
    for (const each of all) each.look();
  }
  for (const each of all) each.look();
  let left = 4;
  for (const each of all) {
    expect(each.end().ms, `with ${left--} there`).toBeCloseTo(250, 0);
  }
});

test('busy clock: when a prompt is computed while another is answered, the time is charged once', () => {
  const { send, pass } = endpoint();
  const answered = send(1, 0);
  answered.firstToken();
  pass(1000);
  const long = send(40_000);
  for (let count = 0; count < 100; count++) {
    pass(20);
    answered.look();
  }
  long.firstToken();
  const longMs = long.end().ms;
  expect(longMs).toBeCloseTo(2000, 0);
  pass(3000);
  expect(answered.end().ms, 'of 6 s, 2 s were the prompt').toBeCloseTo(4000, 0);
});

// Whatever comes when: an estimate may be wrong about who, but not invent time.
test.each([1, 2, 3, 4, 5])(
  'busy clock: when requests come and go as they like (seed %d), all together get no more than went by',
  (seed) => {
    const random = new Random(seed);
    const { shared, send, pass } = endpoint(2);
    const open: { readonly request: ReturnType<typeof send>; hasToken: boolean }[] = [];
    let charged = 0;
    let busyMs = 0;
    for (let step = 0; step < 4000; step++) {
      const passedMs = random.ratio() * 20;
      if (shared.inflight > 0) busyMs += passedMs;
      pass(passedMs);
      const draw = random.ratio();
      const each = open[Math.floor(random.ratio() * open.length)];
      if (draw < 0.25 || each === undefined) {
        const tokens = Math.ceil(random.ratio() * 20_000);
        open.push({ request: send(tokens, tokens / 10, Math.floor(random.ratio() * 2)), hasToken: false });
      } else if (!each.hasToken) {
        each.request.firstToken();
        each.hasToken = true;
      } else if (draw < 0.6) {
        charged += each.request.end().ms;
        open.splice(open.indexOf(each), 1);
      } else each.request.look();
    }
    for (const { request, hasToken } of open) {
      if (!hasToken) request.firstToken();
      charged += request.end().ms;
    }
    // Two shards see each other's counts only when they look.
    expect(charged / busyMs).toBeLessThan(1.1);
    expect(charged / busyMs).toBeGreaterThan(0.5);
  },
);
