import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Asked } from '../asking.ts';
import { begin, chunkOf, speak, tokenEvent } from '../engine.ts';
import { Gateway } from '../gateway.ts';
import type { FaultRow } from '../row.ts';
import { Sabotage } from '../sabotage.ts';
import type { Stage } from '../stage.ts';
import { isServed, tally } from '../tally.ts';

const throwingFilter = fileURLToPath(new URL('../fixtures/throwing-filter.js', import.meta.url));

/** From now until a request is served whole, in ms. What fails meanwhile is no one's promise. */
async function untilServed(stage: Stage, boundMs: number): Promise<number> {
  return stage.until(
    async () => {
      const asked = await stage.clients.ask();
      asked.mayBeLost = true;
      return isServed(asked);
    },
    'a request is served again',
    boundMs,
  );
}

/** Streams that run until `finish` is called; their engines speak every 50 ms. */
function openStreams(stage: Stage, count: number): { readonly all: Promise<Asked[]>; finish: () => void } {
  let isOver = false;
  stage.engine.behave = async (turn) => {
    if (!turn.isStream) return speak()(turn);
    begin(turn, 1);
    let index = 1;
    for (; !isOver && !turn.peer.isEnded; index++) {
      turn.peer.send(chunkOf(tokenEvent(turn.key, index)));
      await sleep(50);
    }
    turn.peer.send(`${chunkOf('data: [DONE]\n\n')}0\r\n\r\n`);
  };
  const all = Promise.all(
    Array.from({ length: count }, async () => {
      const asked = await stage.clients.ask({ isStream: true, tokens: 10_000 });
      // How long it went on is not known beforehand: whole is what ends as such.
      if (asked.isWhole && asked.wrong?.startsWith('an answer cut short') === true) asked.wrong = null;
      return asked;
    }),
  );
  return { all, finish: () => (isOver = true) };
}

async function untilStreaming(stage: Stage, count: number): Promise<void> {
  await stage.until(() => stage.engine.activeCount >= count, `${count} streams run`);
  await sleep(100);
}

/** A second process on the same ports. It takes over the admin port, so it is asked who it is there. */
function startOver(stage: Stage): Promise<Gateway> {
  return Gateway.start({ yaml: '', over: stage.gateway });
}

export const gatewayRows: readonly FaultRow[] = [
  {
    id: 'F13',
    how: 'an uncaught error in a worker thread, twice, under 40 requests/s whose bodies workers check (json_check: full)',
    async run(stage) {
      const sabotage = new Sabotage(stage);
      await stage.start({ ...sabotage.plan, top: 'limits: { json_check: full }' });
      stage.expectedLog = /sabotage/;
      stage.calmErrorsBecause = 'its bodies are checked by the same workers';
      const load = stage.clients.load(40, 3000, { promptBytes: 200_000 });
      for (let count = 0; count < 2; count++) {
        await sleep(900);
        sabotage.begin('worker-throws');
      }
      const asked = await load;
      const failed = asked.filter((each) => !isServed(each));
      stage.promise(failed.length <= 4, tally(asked));
      stage.note(tally(asked));
    },
  },
  {
    id: 'F14',
    how: '1 of 2 shard threads ends (process.exit in it), under 40 requests/s and 10 streams',
    async run(stage) {
      const sabotage = new Sabotage(stage);
      await stage.start({ ...sabotage.plan, shards: 2 });
      stage.expectedLog = /sabotage|shard ended unasked|shard restarted/;
      stage.areBugsExpected = true;
      // What ran on that shard is lost with it.
      stage.calmErrorsBecause = 'half of its connections were on that shard';
      const streams = openStreams(stage, 10);
      await untilStreaming(stage, 10);
      const load = stage.clients.load(40, 3000);
      await sleep(500);
      const goneMs = performance.now();
      sabotage.begin('shard-exits');
      const asked = await load;
      streams.finish();
      const cut = (await streams.all).filter((each) => !isServed(each));
      for (const each of stage.clients.asked) each.mayBeLost ||= !isServed(each);
      const late = asked.filter((each) => !isServed(each) && each.startMs > goneMs + 1000);
      stage.promise(late.length === 0, `a second later: ${tally(late)}`);
      stage.promise(cut.length < 10, 'streams of both shards were cut');
      const { shards } = await stage.gateway.status();
      stage.promise(shards.length === 2 && shards.every(({ state }) => state === 'listening'), JSON.stringify(shards));
      stage.note(`${tally(asked)}; ${cut.length} of 10 streams cut; ${late.length} failures after a second`);
    },
  },
  {
    id: 'F15',
    how: 'kill -9 of the gateway process under 40 requests/s; its supervisor starts another',
    async run(stage) {
      await stage.start();
      stage.mayRestart = true;
      stage.calmErrorsBecause = 'the process was killed';
      stage.expectedLog = /process died/;
      const load = stage.clients.load(40, 1000);
      await sleep(500);
      process.kill(stage.gateway.pid, 'SIGKILL');
      const ms = await untilServed(stage, 8000);
      stage.promise(ms < 2000, `the first answer came after ${Math.round(ms)} ms`);
      for (const each of await load) each.mayBeLost = true;
      const asked = await stage.clients.load(40, 500);
      stage.promise(asked.every(isServed), tally(asked));
      // The second life writes to the same log; the first one's books went with it.
      stage.note(`the first answer came ${Math.round(ms)} ms after the kill; then ${tally(asked)}`);
    },
  },
  {
    id: 'F16',
    how: '1 of 2 shards computes for 500 ms; 40 requests begin meanwhile',
    async run(stage) {
      const sabotage = new Sabotage(stage);
      await stage.start({ ...sabotage.plan, shards: 2 });
      await stage.clients.load(40, 500);
      sabotage.begin('shard-stalls');
      await sleep(60);
      const asked = await Promise.all(Array.from({ length: 40 }, () => stage.clients.ask()));
      const prompt = asked.filter(({ startMs, endMs }) => endMs - startMs < 250);
      stage.promise(
        asked.every(({ status }) => status === 200 || status === 429 || status === 503),
        tally(asked),
      );
      stage.promise(prompt.length >= 5, `${prompt.length} of 40 were answered while one shard stood still`);
      await sleep(300);
      const { histograms } = await stage.gateway.admin<{
        histograms: { max?: number; percentiles?: Record<string, number> }[];
      }>('/histograms?name=penstock_event_loop_lag_seconds');
      const isCounted = /0\.[3-6]|[3-6]\d\d(\.\d+)?/.test(JSON.stringify(histograms));
      stage.promise(isCounted, 'the lag is not in penstock_event_loop_lag_seconds');
      const logged = stage.gateway.logged(/event loop|stall|lag|blocked/i).length;
      stage.promise(logged > 0, 'the log does not mention it');
      stage.note(
        `${prompt.length} of 40 answered within 250 ms meanwhile; in the lag histogram: ${isCounted}; log lines: ${logged}`,
      );
    },
  },
  {
    id: 'F17',
    how: 'a worker thread loops for ever, under 20 requests/s whose bodies workers check (json_check: full)',
    async run(stage) {
      const sabotage = new Sabotage(stage);
      await stage.start({ ...sabotage.plan, top: 'limits: { json_check: full }' });
      stage.calmErrorsBecause = 'its bodies are checked by the same workers';
      stage.calmP99BoundMs = 3000;
      const load = stage.clients.load(20, 6000, { promptBytes: 200_000 });
      await sleep(1000);
      sabotage.begin('worker-loops');
      const asked = await load;
      const failed = asked.filter((each) => !isServed(each));
      const slowestMs = Math.max(...asked.map(({ startMs, endMs }) => endMs - startMs));
      stage.promise(slowestMs > 1000 || failed.length > 0, 'no job fell to the thread that loops');
      stage.promise(
        failed.length <= 4 && failed.every(({ status, code }) => status === 503 && code === 'saturated'),
        tally(failed),
      );
      stage.promise(slowestMs < 2500, `one took ${Math.round(slowestMs)} ms`);
      stage.note(`${tally(asked)}; the slowest after ${Math.round(slowestMs)} ms`);
    },
  },
  {
    id: 'F18',
    how: 'SIGSTOP for 4 s with first_byte_ms and stream_idle_ms 2 s, 10 streams and 10 requests whose answer comes meanwhile',
    async run(stage) {
      await stage.start({
        timeouts: 'first_byte_ms: 2s, stream_idle_ms: 2s',
        pool: 'health: { path: /health, interval_ms: 500ms, timeout_ms: 300ms, unhealthy_after: 1 }',
      });
      stage.calmP99BoundMs = 6000;
      const streams = openStreams(stage, 10);
      await untilStreaming(stage, 10);
      const { behave } = stage.engine;
      stage.engine.behave = (turn) =>
        turn.isStream ? behave(turn) : speak(turn.head.raw.includes('/health') ? 0 : 700)(turn);
      const waiting = Array.from({ length: 10 }, () => stage.clients.ask());
      await sleep(300);
      process.kill(stage.gateway.pid, 'SIGSTOP');
      await sleep(4000);
      process.kill(stage.gateway.pid, 'SIGCONT');
      await sleep(700);
      const state = await stage.gateway.stateOf(stage.engine.url);
      stage.promise(state === 'healthy', `the engine is ${state}`);
      streams.finish();
      const asked = [...(await streams.all), ...(await Promise.all(waiting))];
      stage.promise(asked.every(isServed), tally(asked));
      stage.note(`${tally(asked)}; the engine is ${state}`);
    },
  },
  {
    id: 'F19',
    how: 'in the shards one of a hundred Atomics.sub does nothing, under 200 requests/s for 5 s',
    async run(stage) {
      const sabotage = new Sabotage(stage);
      await stage.start({ ...sabotage.plan, shards: 2 });
      stage.areBugsExpected = true;
      stage.expectedLog = /a shared count was off/;
      sabotage.begin('releases-lost');
      const asked = await stage.clients.load(200, 5000);
      sabotage.end('releases-lost');
      const held = async (): Promise<number> =>
        (await stage.gateway.metric('penstock_inflight_requests', 'pool="m"')) +
        (await stage.gateway.metric('penstock_inflight_tokens', 'pool="m"'));
      const lost = await held();
      const tookMs = await stage.until(async () => (await held()) === 0, 'what was lost is back', 60_000);
      stage.promise(asked.every(isServed), tally(asked));
      stage.note(
        `${tally(asked)}; ${lost} requests and tokens still counted at the end, none ${(tookMs / 1000).toFixed(0)} s later`,
      );
    },
  },
  {
    id: 'F20',
    how: 'Date.now of all threads goes an hour ahead, then an hour behind, 1 s each, with 10 streams and 40 requests/s',
    async run(stage) {
      const sabotage = new Sabotage(stage);
      await stage.start({ ...sabotage.plan, timeouts: 'first_byte_ms: 2s, stream_idle_ms: 2s, total_ms: 20s' });
      const streams = openStreams(stage, 10);
      await untilStreaming(stage, 10);
      const load = stage.clients.load(40, 3000);
      for (const jump of ['clock-ahead', 'clock-behind'] as const) {
        await sleep(400);
        sabotage.begin(jump);
        await sleep(1000);
        sabotage.end(jump);
      }
      const asked = await load;
      streams.finish();
      asked.push(...(await streams.all));
      stage.promise(asked.every(isServed), tally(asked));
      stage.note(tally(asked));
    },
  },
  {
    id: 'F21',
    how: 'a filter of the user’s own throws in each of its hooks, 10 x each, with 20 requests/s beside that do not',
    async run(stage) {
      await stage.start({ filters: [`{ filter: own, module: "${throwingFilter}" }`] });
      const load = stage.clients.load(20, 1000);
      const told: string[] = [];
      for (const hook of ['onRequestHead', 'onRequestFacts', 'onResponseHead', 'onResponseChunk', 'onEnd']) {
        const asked = await Promise.all(
          Array.from({ length: 10 }, () => stage.clients.ask({ fields: [`x-throw: ${hook}`] })),
        );
        // At its end an exchange has been answered already.
        const isRight = ({ status }: Asked): boolean => status === (hook === 'onEnd' ? 200 : 500);
        stage.promise(asked.every(isRight), `${hook}: ${tally(asked)}`);
        told.push(`${hook} ${tally(asked)}`);
      }
      const asked = await load;
      stage.promise(asked.every(isServed), `without it: ${tally(asked)}`);
      const counted = await stage.gateway.metric('penstock_requests_total', 'reason="internal_error"');
      stage.promise(counted === 40, `${counted} counted as internal_error`);
      const logged = stage.gateway.logged('thrown in onEnd').length;
      stage.promise(logged === 10, `${logged} of 10 throws in onEnd are logged`);
      stage.note(`${told.join('; ')}; ${counted} counted`);
    },
  },
  {
    id: 'F22',
    how: 'SIGHUP and POST /reload while a stream holds up the drain',
    async run(stage) {
      await stage.start({ timeouts: 'request_idle_ms: 20s' });
      const streams = openStreams(stage, 1);
      await untilStreaming(stage, 1);
      await stage.stopCalm();
      stage.isProcessOver = true;
      const { gateway } = stage;
      stage.configure({ timeouts: 'request_idle_ms: 21s' });
      gateway.process.kill('SIGTERM');
      await stage.until(async () => (await gateway.ask('/ready')).status === 503, 'it drains');
      gateway.process.kill('SIGHUP');
      const reload = await gateway.post('/reload');
      stage.promise(!reload.ok, `POST /reload answers ${reload.status}`);
      const refused = await stage.clients.ask();
      refused.mayBeLost = true;
      stage.promise(refused.status === 0 || refused.status === 503, `a new request is answered ${refused.status}`);
      streams.finish();
      const [stream] = await streams.all;
      stage.promise(isServed(stream!), `the stream: ${tally([stream!])}`);
      const code = await gateway.exited;
      stage.promise(code === 0, `exit code ${code}`);
      stage.note(
        `reload answers ${reload.status}; a new request: ${tally([refused])}; the stream ends whole; exit ${code}`,
      );
    },
  },
  {
    id: 'F23',
    how: 'a second process starts on the same ports, the first gets SIGTERM; 100 requests/s for 5 s, 10 streams; tcp_migrate_req=1',
    isApart: true,
    async run(stage) {
      await stage.sysctl('net.ipv4.tcp_migrate_req', '1');
      await stage.start({ isQuiet: true });
      const streams = openStreams(stage, 10);
      await untilStreaming(stage, 10);
      const load = stage.clients.load(100, 5000);
      await sleep(700);
      const first = stage.gateway;
      const second = await startOver(stage);
      stage.after(() => second.kill());
      first.process.kill('SIGTERM');
      await sleep(500);
      streams.finish();
      const cut = (await streams.all).filter((each) => !isServed(each));
      const code = await first.exited;
      const asked = await load;
      stage.promise(code === 0, `the first one ended with ${code}`);
      stage.promise(asked.every(isServed), tally(asked));
      stage.promise(cut.length === 0, `${cut.length} streams were cut`);
      stage.replace(second);
      stage.note(`${tally(asked)}; ${cut.length} of 10 streams cut; the first one exits with ${code}`);
    },
  },
  {
    id: 'F24',
    how: 'the second process exits with 1 as soon as it runs; then one whose file is bad; 100 requests/s',
    async run(stage) {
      const sabotage = new Sabotage(stage);
      await stage.start();
      const load = stage.clients.load(100, 3000);
      sabotage.begin('gateway-exits');
      const crashing = await Gateway.attempt({ yaml: '', over: stage.gateway, ...sabotage.plan });
      const code = await crashing.exited;
      stage.promise(code !== 0, 'the second one exits with 0');
      stage.configure({ top: 'polls: []' });
      const bad = await Gateway.attempt({ yaml: '', over: stage.gateway });
      const badCode = await bad.exited;
      stage.promise(badCode === 1, `with a bad file it exits with ${badCode}`);
      const asked = await load;
      stage.promise(asked.every(isServed), tally(asked));
      stage.note(`exit ${code} and ${badCode}; ${tally(asked)}`);
    },
  },
];
