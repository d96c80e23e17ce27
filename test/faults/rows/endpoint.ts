import { setTimeout as sleep } from 'node:timers/promises';
import { blackHole } from '../../rig/black-hole.ts';
import { malformedChunks, malformedHeads } from '../../wire/malformed-responses.ts';
import { type Asked, clientTo } from '../asking.ts';
import { begin, chunkOf, type Engine, refuse, silence, speak, streamHead, tokenEvent } from '../engine.ts';
import type { FaultRow } from '../row.ts';
import { Simulated } from '../simulated.ts';
import type { Stage } from '../stage.ts';
import { isServed, tally } from '../tally.ts';

const noRetries = 'retries: { attempts: 0 }';

function shareOf(engine: Engine, sinceMs: number, all: readonly Engine[]): number {
  const count = (of: Engine): number => of.executions.filter(({ atMs }) => atMs >= sinceMs).length;
  return (
    count(engine) /
    Math.max(
      1,
      all.reduce((sum, each) => sum + count(each), 0),
    )
  );
}

async function untilEjected(stage: Stage, engine: Engine, boundMs: number): Promise<number> {
  return stage.until(
    async () => (await stage.gateway.stateOf(engine.url)) === 'ejected',
    `${engine.name} is ejected`,
    boundMs,
  );
}

const dripBytes = 120;
/** A chunk of one byte on the wire, and as much of it as holds the byte. The acceptor writes a chunk's line end with the next. */
const dripByteEnd = '1\r\nx'.length;
const dripWireBytes = '1\r\nx\r\n'.length;

/** How late each byte of a dripping stream arrived. A byte that waits for the next is as late as that one. */
async function dripLateness(
  stage: Stage,
  port: number,
  writtenMs: ReadonlyMap<string, readonly number[]>,
): Promise<number[]> {
  const { asked, wire } = stage.clients.request({ isStream: true, tokens: 1 });
  const client = await clientTo(port);
  client.send(wire);
  await client.readUntil('\r\n\r\n');
  const arrivedMs: number[] = [];
  let wireBytes = client.takePending().length;
  const note = (): void => {
    while (arrivedMs.length < dripBytes && wireBytes >= arrivedMs.length * dripWireBytes + dripByteEnd) {
      arrivedMs.push(performance.now());
    }
  };
  note();
  client.socket.on('data', (bytes: Buffer) => {
    wireBytes += bytes.length;
    note();
  });
  await client.readUntil('\r\n0\r\n\r\n');
  asked.isAbandoned = true; // Its bytes were counted here, not read as events.
  client.destroy();
  const times = writtenMs.get(asked.key)!;
  return times.map((ms, index) => (arrivedMs[index] ?? Infinity) - ms);
}

/** Raw answers of one broken kind after another, with traffic of its own beside them on the same engine. */
async function replay(stage: Stage, wires: readonly string[], ends: 'FIN' | 'stays'): Promise<Asked[]> {
  let next = 0;
  stage.engine.behave = ({ peer, execution }) => {
    peer.send(wires[next++ % wires.length]!);
    execution.outcome = 'failed';
    if (ends === 'FIN') peer.finish();
    return Promise.resolve();
  };
  const asked: Asked[] = [];
  for (let at = 0; at < wires.length; at += 8) {
    const batch = wires.slice(at, at + 8).map((_, index) => stage.clients.ask({ isStream: index % 2 === 0 }));
    asked.push(...(await Promise.all(batch)));
  }
  return asked;
}

export const endpointRows: readonly FaultRow[] = [
  {
    id: 'F25',
    how: '1 of 2 ports closed, then both; 40 requests, then 10',
    async run(stage) {
      await stage.start({ engines: 2 });
      await stage.engines[0]!.die();
      const first = await stage.clients.load(40, 1000);
      const isPrompt = ({ startMs, endMs }: Asked): boolean => endMs - startMs < 1000;
      stage.promise(
        first.every((each) => (isServed(each) || each.status === 502) && isPrompt(each)),
        `with one left: ${tally(first)}`,
      );
      await untilEjected(stage, stage.engines[0]!, 1000);
      await stage.engines[1]!.die();
      const second = await stage.clients.load(20, 500);
      const slowestMs = Math.max(...second.map(({ startMs, endMs }) => endMs - startMs));
      stage.promise(
        second.every(({ status }) => status === 502 || status === 503) && slowestMs < 1000,
        `with none left: ${tally(second)} within ${Math.round(slowestMs)} ms`,
      );
      stage.note(`${tally(first)}; ejected; with none left ${tally(second)} within ${Math.round(slowestMs)} ms`);
    },
  },
  {
    id: 'F26',
    how: '1 of 2 endpoints with a full backlog that nobody accepts from; connect_ms 500, budget_percent 100; 10 requests',
    async run(stage) {
      const hole = await blackHole();
      stage.after(() => hole.close());
      await stage.start({
        endpoints: [`{ url: "${hole.url}" }`],
        timeouts: 'connect_ms: 500ms',
        pool: 'retries: { budget_percent: 100 }',
      });
      const asked = await stage.clients.load(20, 500);
      const slowestMs = Math.max(...asked.map(({ startMs, endMs }) => endMs - startMs));
      stage.promise(asked.every(isServed), tally(asked));
      stage.promise(slowestMs < 1500, `the slowest took ${Math.round(slowestMs)} ms`);
      stage.note(`${tally(asked)}, the slowest in ${Math.round(slowestMs)} ms`);
    },
  },
  {
    id: 'F27',
    how: 'the engine accepts and is silent; first_byte_ms 500; 10 requests',
    async run(stage) {
      await stage.start({ timeouts: 'first_byte_ms: 500ms', pool: noRetries });
      stage.engine.behave = silence;
      const asked = await Promise.all(Array.from({ length: 10 }, () => stage.clients.ask()));
      const slowestMs = Math.max(...asked.map(({ startMs, endMs }) => endMs - startMs));
      stage.promise(
        asked.every(({ status, code }) => status === 504 && code === 'first_byte_timeout'),
        tally(asked),
      );
      stage.promise(slowestMs < 1200, `the slowest took ${Math.round(slowestMs)} ms`);
      await stage.until(() => stage.engine.openPeers.length === 0, 'the connections close');
      stage.note(`${tally(asked)}, the slowest after ${Math.round(slowestMs)} ms; connections closed`);
    },
  },
  {
    id: 'F28',
    how: '10 x RST before the head, 10 x within it, 10 x after three tokens',
    async run(stage) {
      await stage.start({ pool: noRetries });
      const place = async (behave: (engine: Engine) => void, isStream: boolean): Promise<Asked[]> => {
        behave(stage.engine);
        return Promise.all(Array.from({ length: 10 }, () => stage.clients.ask({ isStream, tokens: 9 })));
      };
      const resetAfter = (text: string) => (engine: Engine) => {
        engine.behave = async ({ peer, execution }) => {
          execution.outcome = 'failed';
          if (text !== '') peer.send(text);
          await sleep(30);
          peer.reset();
        };
      };
      const before = await place(resetAfter(''), false);
      const within = await place(resetAfter('HTTP/1.1 200 OK\r\ncontent-'), false);
      const after = await place((engine) => {
        engine.behave = async (turn) => {
          turn.execution.outcome = 'failed';
          begin(turn, 3);
          await sleep(30);
          turn.peer.reset();
        };
      }, true);
      stage.promise(
        before.every(({ status, code }) => status === 502 && code === 'upstream_reset'),
        tally(before),
      );
      stage.promise(
        within.every(({ status }) => status === 502),
        tally(within),
      );
      stage.promise(
        after.every(({ code, isWhole }) => code === 'stream_truncated' && !isWhole),
        tally(after),
      );
      stage.note(`before ${tally(before)}; within ${tally(within)}; after ${tally(after)}`);
    },
  },
  {
    id: 'F29',
    how: '10 streams end with FIN after three tokens, without their last chunk; 10 with it, without [DONE]',
    async run(stage) {
      await stage.start();
      const run = (tail: string): Promise<Asked[]> => {
        stage.engine.behave = (turn) => {
          turn.execution.outcome = 'failed';
          begin(turn, 3);
          if (tail !== '') turn.peer.send(tail);
          turn.peer.finish();
          return Promise.resolve();
        };
        return Promise.all(Array.from({ length: 10 }, () => stage.clients.ask({ isStream: true, tokens: 9 })));
      };
      const asked = [...(await run('')), ...(await run('0\r\n\r\n'))];
      stage.promise(
        asked.every(({ code, isWhole }) => code === 'stream_truncated' && !isWhole),
        tally(asked),
      );
      stage.promise(
        asked.every(({ text }) => !text.includes('[DONE]')),
        'a cut stream has [DONE]',
      );
      stage.note(tally(asked));
    },
  },
  {
    id: 'F30',
    how: '1 of 2 engines falls silent after three tokens, 12 streams; stream_idle_ms 300',
    async run(stage) {
      await stage.start({ engines: 2, timeouts: 'stream_idle_ms: 300ms' });
      const [bad, good] = stage.engines as [Engine, Engine];
      bad.behave = async (turn) => {
        begin(turn, 3);
        await silence(turn);
      };
      good.behave = speak(1);
      const asked = await stage.clients.load(20, 600, { isStream: true, tokens: 9 });
      const stalled = asked.filter((each) => !isServed(each));
      stage.promise(
        stalled.length > 0 &&
          stalled.every(({ code, endMs, startMs }) => code === 'stream_truncated' && endMs - startMs < 1200),
        tally(asked),
      );
      await untilEjected(stage, bad, 1000);
      stage.note(`${tally(asked)}; the silent engine is ejected`);
    },
  },
  {
    id: 'F31',
    how: '20 streams whose engine writes 120 bytes, one every 20 ms, each in a chunk of its own; as many straight from the engine',
    async run(stage) {
      await stage.start();
      const writtenMs = new Map<string, number[]>();
      stage.engine.behave = async ({ peer, key, execution }) => {
        const event = tokenEvent(key, 0).padEnd(dripBytes, '\n');
        const times: number[] = [];
        writtenMs.set(key, times);
        peer.send(streamHead);
        for (const character of event) {
          times.push(performance.now());
          peer.send(chunkOf(character));
          await sleep(20);
        }
        peer.send(`${chunkOf('data: [DONE]\n\n')}0\r\n\r\n`);
        execution.outcome = 'answered';
      };
      const cpuBefore = stage.gateway.cpuSeconds();
      const startMs = performance.now();
      const many = (port: number): Promise<number[][]> =>
        Promise.all(Array.from({ length: 20 }, () => dripLateness(stage, port, writtenMs)));
      const [through, direct] = await Promise.all([
        many(stage.gateway.port),
        many(Number(new URL(stage.engine.url).port)),
      ]);
      const cpuRatio = ((stage.gateway.cpuSeconds() - cpuBefore) * 1000) / (performance.now() - startMs);
      // Engine and clients live in the suite, which is late itself now and then, and for both alike.
      const p99 = (values: number[][]): number => {
        const all = values.flat().sort((a, b) => a - b);
        return all[Math.floor(all.length * 0.99)]!;
      };
      const addedMs = p99(through) - p99(direct);
      stage.promise(addedMs <= 50, `${Math.round(addedMs)} ms were added`);
      stage.promise(cpuRatio < 0.6, `the gateway took ${cpuRatio.toFixed(2)} of a core`);
      stage.note(
        `p99 of the bytes ${p99(through).toFixed(1)} ms after they were written, ${p99(direct).toFixed(1)} straight from the engine; ${cpuRatio.toFixed(2)} of a core`,
      );
    },
  },
  {
    id: 'F32',
    how: '1 of 3 simulated engines gets kill -9 under 60 requests/s',
    async run(stage) {
      const sims = await Promise.all(
        ['s0', 's1', 's2'].map((name) => Simulated.start(name, ['--model', 'm', '--speed', '2'])),
      );
      for (const sim of sims) stage.after(() => sim.stop());
      await stage.start({ engines: 0, endpoints: sims.map(({ url }) => `{ url: "${url}" }`) });
      const load = stage.clients.load(60, 4000, { isStream: true, tokens: 24 });
      await sleep(1000);
      const { running, waiting } = await sims[0]!.counts();
      const killedMs = performance.now();
      await sims[0]!.stop('SIGKILL');
      const asked = await load;
      const failed = asked.filter((each) => !isServed(each));
      const late = failed.filter(({ startMs }) => startMs > killedMs + 1000);
      const wasInFlight = failed.filter(({ startMs }) => startMs < killedMs + 50);
      stage.promise(late.length === 0, `${late.length} failed that began a second later: ${tally(late)}`);
      stage.promise(
        failed.length <= running + waiting + 3,
        `${failed.length} failed with ${running + waiting} in flight: ${tally(failed)}`,
      );
      stage.promise(failed.length === wasInFlight.length, `failed though not in flight: ${tally(failed)}`);
      stage.note(`${tally(asked)}; ${running + waiting} were in flight on it`);
    },
  },
  {
    id: 'F33',
    how: '1 of 3 streams lines that are no JSON, with [DONE] and 200; 30 streams/s',
    async run(stage) {
      await stage.start({ engines: 3 });
      const bad = stage.engine;
      bad.behave = ({ peer, execution }) => {
        execution.outcome = 'failed';
        peer.send(streamHead);
        for (let count = 0; count < 6; count++) peer.send(chunkOf(`data: \x01garbage ${count}\n\n`));
        peer.send(`${chunkOf('data: [DONE]\n\n')}0\r\n\r\n`);
        return Promise.resolve();
      };
      const load = stage.clients.load(30, 3000, { isStream: true, tokens: 6 });
      const ms = await untilEjected(stage, bad, 10_000);
      const asked = await load;
      // What the engine made up is not the gateway's to repair; the bytes are not compared here.
      for (const each of asked) each.wrong = null;
      stage.note(`ejected after ${Math.round(ms)} ms, having answered ${bad.executions.length} of ${asked.length}`);
    },
  },
  {
    id: 'F34',
    how: '1 of 3 simulated engines decodes ten times slower; least_load, 30 streams/s',
    async run(stage) {
      const sims = await Promise.all(
        ['s0', 's1', 's2'].map((name) => Simulated.start(name, ['--model', 'm', '--speed', '2'])),
      );
      for (const sim of sims) stage.after(() => sim.stop());
      await stage.start({
        engines: 0,
        endpoints: sims.map(({ url }) => `{ url: "${url}" }`),
        pool: 'picker: least_load',
      });
      await stage.clients.load(20, 1000, { isStream: true, tokens: 24 });
      await sims[0]!.setFaults({ slow_factor: { rate: 1, factor: 10 } });
      const slowMs = performance.now();
      const asked = await stage.clients.load(30, 6000, { isStream: true, tokens: 24 });
      const took = await Promise.all(sims.map(async (sim) => (await sim.counts()).finished['length'] ?? 0));
      // A second look, after the gateway has had its time: who gets the next ones?
      const before = took[0]!;
      const later = await stage.clients.load(30, 2000, { isStream: true, tokens: 24 });
      const after = (await sims[0]!.counts()).finished['length'] ?? 0;
      const share = (after - before) / later.length;
      stage.promise(asked.every(isServed) && later.every(isServed), tally([...asked, ...later]));
      stage.promise(share < 0.1, `its share is still ${Math.round(share * 100)} %`);
      stage.note(
        `share ${Math.round(share * 100)} % ${Math.round((later[0]!.startMs - slowMs) / 1000)} s after it became slow`,
      );
    },
  },
  {
    id: 'F35',
    how: '1 of 3 engines is up 1 s and down 1 s (refusing, and cutting what it had), for 8 s; 50 requests/s',
    async run(stage) {
      await stage.start({ engines: 3, pool: 'ejection: { base_ms: 1s }' });
      const [flapping] = stage.engines as [Engine];
      for (const engine of stage.engines) engine.behave = speak(2);
      let isOver = false;
      const flaps = (async () => {
        while (!isOver) {
          await flapping.die();
          await sleep(1000);
          await flapping.listen();
          await sleep(1000);
        }
      })();
      const asked = await stage.clients.load(50, 8000, { tokens: 6 });
      isOver = true;
      await flaps;
      const failed = asked.filter((each) => !isServed(each));
      stage.promise(failed.length <= asked.length / 100, tally(asked));
      const ejections = stage.gateway.logged('endpoint ejected').length;
      stage.note(`${tally(asked)}; ejected ${ejections} times`);
    },
  },
  {
    id: 'F36',
    how: '3 of 3 engines refuse for 3 s under 40 requests/s, then are back; ejection.base_ms 1s',
    async run(stage) {
      await stage.start({ engines: 3, pool: 'ejection: { base_ms: 1s, max_ms: 1s }' });
      const load = stage.clients.load(40, 9000);
      await sleep(1000);
      await Promise.all(stage.engines.map((engine) => engine.die()));
      const downMs = performance.now();
      await sleep(2900);
      const queued = await stage.gateway.metric('penstock_queue_depth');
      await Promise.all(stage.engines.map((engine) => engine.listen()));
      const upMs = performance.now();
      const asked = await load;
      const during = asked.filter(({ startMs }) => startMs > downMs + 500 && startMs < upMs);
      const after = asked.filter(({ startMs }) => startMs > upMs + 2000);
      // Those that found out whether an engine is back were told that it is not.
      const probes = during.filter(({ status }) => status === 502);
      stage.promise(
        probes.length <= during.length * 0.05 &&
          during.every(({ status, retryAfter }) => status === 502 || (status === 503 && retryAfter > 0)),
        `while all are down: ${tally(during)}`,
      );
      stage.promise(queued < 40, `${queued} were queued`);
      stage.promise(after.every(isServed), `2 s after they are back: ${tally(after)}`);
      const first = asked.filter((each) => each.startMs > upMs && isServed(each))[0];
      stage.note(
        `while down ${tally(during)}, each 503 with retry-after; first served ${Math.round((first?.startMs ?? 0) - upMs)} ms after they are back`,
      );
    },
  },
  {
    id: 'F37',
    how: 'the engine closes each kept-alive connection 0 to 4 ms after its answer; 200 requests one after another',
    async run(stage) {
      await stage.start();
      let turn = 0;
      stage.engine.behave = async (each) => {
        await speak()(each);
        each.execution.outcome = 'answered';
        await sleep(turn++ % 5);
        each.peer.finish();
      };
      const asked: Asked[] = [];
      for (let count = 0; count < 200; count++) asked.push(await stage.clients.ask());
      stage.promise(
        asked.every((each) => isServed(each) || each.status === 502),
        tally(asked),
      );
      stage.note(`${tally(asked)}; ${stage.engine.executions.length} executions, none twice`);
    },
  },
  {
    id: 'F38',
    how: 'the engine sends a whole response nobody asked for: 40 x behind its answer, 40 x 3 ms later on the idle connection',
    async run(stage) {
      await stage.start();
      const stray = 'HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen';
      let isLate = false;
      stage.engine.behave = async (turn) => {
        turn.peer.socket.cork();
        await speak()(turn);
        turn.execution.outcome = 'answered';
        if (!isLate) turn.peer.send(stray);
        turn.peer.socket.uncork();
        if (isLate) await sleep(3);
        if (isLate) turn.peer.send(stray);
      };
      const asked: Asked[] = [];
      for (let count = 0; count < 80; count++) {
        isLate = count >= 40;
        asked.push(await stage.clients.ask());
        // Behind a request that is under way already it would be an answer to that.
        if (isLate) await sleep(20);
      }
      const stolen = asked.filter(({ text }) => text.includes('stolen'));
      stage.promise(stolen.length === 0, `${stolen.length} got an answer nobody asked for`);
      stage.promise(asked.every(isServed), tally(asked));
      stage.note(`${tally(asked)} over ${stage.engine.peers.length} connections; none got the stray answer`);
    },
  },
  {
    id: 'F39',
    how: '30 x each: 20 MB of fields, 100,000 interim heads, 20 MB of chunk extensions, 20 MB of trailers',
    async run(stage) {
      await stage.start({ pool: noRetries });
      const mega = 1024 * 1024;
      const bombs: Record<string, readonly [opening: string, part: string, bytes: number]> = {
        fields: ['HTTP/1.1 200 OK\r\n', `x-a: ${'b'.repeat(1000)}\r\n`.repeat(64), 20 * mega],
        'interim heads': ['', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(2048), 100_000 * 27],
        'chunk extensions': [`${streamHead}1;`, 'a'.repeat(65_536), 20 * mega],
        trailers: [`${streamHead}0\r\n`, `x-a: ${'b'.repeat(1000)}\r\n`.repeat(64), 20 * mega],
      };
      const before = stage.gateway.rssMB();
      let peakMB = before;
      const told: string[] = [];
      for (const [what, [opening, part, bytes]] of Object.entries(bombs)) {
        stage.engine.behave = async ({ peer, execution }) => {
          execution.outcome = 'failed';
          peer.send(opening);
          for (let sent = 0; sent < bytes && !peer.isEnded && !peer.socket.destroyed; sent += part.length) {
            if (!peer.socket.write(part, 'latin1')) {
              await Promise.race([new Promise((resolve) => peer.socket.once('drain', resolve)), peer.ended()]);
            }
          }
        };
        const asked: Asked[] = [];
        for (let round = 0; round < 3; round++) {
          asked.push(...(await Promise.all(Array.from({ length: 10 }, () => stage.clients.ask()))));
          peakMB = Math.max(peakMB, stage.gateway.rssMB());
        }
        stage.promise(
          asked.every(({ status, isWhole }) => status === 502 || !isWhole),
          `${what}: ${tally(asked)}`,
        );
        told.push(`${what} ${tally(asked)}`);
      }
      stage.promise(peakMB - before < 100, `memory grew by ${Math.round(peakMB - before)} MB`);
      stage.note(`${told.join('; ')}; memory grew by ${Math.round(peakMB - before)} MB`);
    },
  },
  {
    id: 'F40',
    how: 'every malformed response head and chunk of the wire tests x 20, with traffic beside',
    async run(stage) {
      await stage.start({ pool: noRetries });
      const heads = Object.values(malformedHeads);
      const chunks = Object.values(malformedChunks).map(
        (text) => `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n${text}`,
      );
      let valid = 0;
      let count = 0;
      for (let round = 0; round < 20; round++) {
        for (const wires of [heads, chunks]) {
          const asked = await replay(stage, wires, round % 2 === 0 ? 'FIN' : 'stays');
          for (const each of asked) if (each.status === 200 && (each.isWhole || each.wrong !== null)) valid++;
          for (const each of asked) each.wrong = null;
          count += asked.length;
        }
      }
      stage.promise(valid === 0, `${valid} reached a client as valid`);
      stage.note(`${count} malformed responses, ${valid} of them valid to a client`);
    },
  },
  {
    id: 'F41',
    how: '1 of 2 answers 429 with retry-after: 2; 30 requests/s for 4 s',
    async run(stage) {
      await stage.start({ engines: 2 });
      const [limited] = stage.engines as [Engine];
      limited.behave = async (turn) => {
        turn.execution.outcome = 'failed';
        await refuse(429, ['retry-after: 2'])(turn);
      };
      const asked = await stage.clients.load(30, 4500);
      stage.promise(asked.every(isServed), tally(asked));
      const [first = 0, ...later] = limited.executions.map(({ atMs }) => atMs);
      const pauses = later.map((atMs, index) => atMs - [first, ...later][index]!).filter((ms) => ms > 300);
      const early = pauses.filter((ms) => ms < 1950);
      stage.promise(
        pauses.length > 0 && early.length === 0,
        `asked again after ${pauses.map(Math.round).join(', ')} ms`,
      );
      const share = shareOf(limited, first, stage.engines);
      stage.note(
        `${tally(asked)}; asked again after ${pauses.map((ms) => (ms / 1000).toFixed(2)).join(', ')} s; it got ${Math.round(share * 100)} % of the requests`,
      );
    },
  },
];
