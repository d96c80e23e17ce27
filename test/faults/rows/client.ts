import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RawClient } from '../../rig/raw-client.ts';
import { malformedHeads } from '../../wire/malformed-heads.ts';
import { type Asked, clientTo } from '../asking.ts';
import { begin, chunkOf, refuse, silence, speak, streamHead } from '../engine.ts';
import { knowsKey } from '../known-keys.ts';
import { seededRandom } from '../random.ts';
import type { FaultRow } from '../row.ts';
import type { Stage } from '../stage.ts';
import { isServed, tally } from '../tally.ts';

/** FAULTS R1: the endpoint is told within 100 ms. */
const toldBoundMs = 100;

async function leaveMidStream(stage: Stage, how: 'FIN' | 'RST'): Promise<void> {
  await stage.start();
  const streamCount = 20;
  stage.engine.behave = async (turn) => {
    begin(turn, 3);
    await silence(turn);
  };
  const streams = await Promise.all(
    Array.from({ length: streamCount }, async () => {
      const { asked, wire } = stage.clients.request({ isStream: true, tokens: 100 });
      const client = await stage.clients.connect();
      client.send(wire);
      await client.readUntil(`${asked.key}.2 `);
      return { asked, client };
    }),
  );
  for (const { asked, client } of streams) stage.clients.leave(client, asked, how);
  const { executions } = stage.engine;
  await stage.until(() => executions.every(({ abandonedMs }) => abandonedMs > 0), 'every engine connection closes');
  const tookMs = streams.map(
    ({ asked }) => (executions.find(({ id }) => id === asked.id)?.abandonedMs ?? Infinity) - asked.endMs,
  );
  const worstMs = Math.max(...tookMs);
  stage.promise(worstMs <= toldBoundMs, `the last engine was told after ${Math.round(worstMs)} ms`);
  await stage.until(
    () => stage.gateway.records().filter(({ model }) => model === 'm').length >= streamCount,
    'records',
  );
  const records = stage.gateway.records().filter(({ model }) => model === 'm');
  stage.promise(
    records.length === streamCount && records.every(({ reason }) => reason === 'client_gone'),
    `records: ${records.map(({ reason }) => reason).join(' ')}`,
  );
  stage.note(`${streamCount} engines told after at most ${Math.round(worstMs)} ms; each settled once as client_gone`);
}

/** A client process that opens streams until it is killed: `argv` are port, count. Says when all have their first bytes. */
const stormProgram = `
const [port, count] = process.argv.slice(1).map(Number);
const body = JSON.stringify({ model: 'm', stream: true, max_tokens: 1000, messages: [] });
let begun = 0;
for (let number = 0; number < count; number++) {
  const socket = require('node:net').connect(port, '127.0.0.1');
  socket.write('POST /v1/chat/completions HTTP/1.1\\r\\nhost: a\\r\\ncontent-type: application/json\\r\\ncontent-length: ' + body.length + '\\r\\n\\r\\n' + body);
  socket.once('data', () => ++begun === count && require('node:fs').writeSync(1, 'all'));
  socket.on('data', () => {});
  socket.on('error', () => {});
}
`;

/** Opens that many streams in another process, kills it, and returns after how long no engine was active any more. */
async function storm(stage: Stage, count: number): Promise<number> {
  const child = spawn(process.execPath, ['-e', stormProgram, String(stage.gateway.port), String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await once(child.stdout, 'data');
  clearTimeout(timer);
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  return stage.until(() => stage.engine.activeCount === 0, 'no engine is active', 5000);
}

/** Opens idle connections from one address until one is refused or all are open; returns those that stayed. */
async function openIdle(port: number, count: number, localAddress: string): Promise<RawClient[]> {
  const open: RawClient[] = [];
  for (let at = 0; at < count; at += 100) {
    const batch = Array.from({ length: Math.min(100, count - at) }, () =>
      clientTo(port, localAddress).catch(() => null),
    );
    for (const client of await Promise.all(batch)) if (client !== null) open.push(client);
  }
  await sleep(200);
  return open.filter(({ isEnded }) => !isEnded);
}

/** One random change of a request: a byte replaced, inserted, taken out, or a piece doubled. */
function mutate(wire: string, random: () => number): string {
  const at = Math.floor(random() * wire.length);
  const byte = String.fromCharCode(Math.floor(random() * 256));
  switch (Math.floor(random() * 4)) {
    case 0:
      return wire.slice(0, at) + byte + wire.slice(at + 1);
    case 1:
      return wire.slice(0, at) + byte + wire.slice(at);
    case 2:
      return wire.slice(0, at) + wire.slice(at + 1);
    default:
      return wire.slice(0, at) + wire.slice(at, at + Math.floor(random() * 40)) + wire.slice(at);
  }
}

export const clientRows: readonly FaultRow[] = [
  { id: 'F01', how: '20 clients close after their third token', run: (stage) => leaveMidStream(stage, 'FIN') },
  { id: 'F02', how: '20 clients reset after their third token', run: (stage) => leaveMidStream(stage, 'RST') },
  {
    id: 'F03',
    how: '150 clients leave after 0 to 50 ms, half of them queued (4 places)',
    async run(stage) {
      await stage.start({ pool: 'inflight_max: 4' });
      stage.engine.behave = speak(20);
      await Promise.all(
        Array.from({ length: 150 }, async (_, number) => {
          const { asked, wire } = stage.clients.request({ tokens: 8, isStream: number % 2 === 0 });
          const client = await stage.clients.connect();
          client.send(wire);
          await new Promise((resolve) => setTimeout(resolve, (number * 7) % 51));
          stage.clients.leave(client, asked, number % 3 === 0 ? 'FIN' : 'RST');
        }),
      );
      const ms = await stage.until(() => stage.engine.activeCount === 0, 'no engine is active', 1000);
      const { executions } = stage.engine;
      const sentLater = executions.filter(({ id, atMs }) => {
        const asked = stage.clients.asked.find((each) => each.id === id)!;
        return atMs > asked.endMs + toldBoundMs;
      });
      stage.promise(sentLater.length === 0, `${sentLater.length} were sent after their client had left`);
      stage.note(`${executions.length} of 150 reached the engine; all over ${Math.round(ms)} ms after the last left`);
    },
  },
  {
    id: 'F04',
    how: '600 streams in a client process that gets kill -9, three times',
    async run(stage) {
      await stage.start();
      stage.engine.behave = async (turn) => {
        begin(turn, 3);
        await silence(turn);
      };
      // The first ones make the heap as large as such a storm needs it.
      await storm(stage, 600);
      await storm(stage, 600);
      const before = stage.gateway.rssMB();
      const ms = await storm(stage, 600);
      const left = await stage.gateway.leasesLeft(1000);
      const after = stage.gateway.rssMB();
      stage.promise(ms >= 0 && ms < 1000, `engines were active for ${Math.round(ms)} ms`);
      stage.promise(Object.keys(left).length === 0, `leases after 1 s: ${JSON.stringify(left)}`);
      stage.promise(after < before * 1.1, `memory went from ${Math.round(before)} to ${Math.round(after)} MB`);
      stage.note(
        `no engine active after ${Math.round(ms)} ms; ${Math.round(before)} MB after the second, ${Math.round(after)} MB after the third`,
      );
    },
  },
  {
    id: 'F05',
    how: '40 clients stop reading a stream of up to 100 MB each, for as long as it takes; memory is that of the process',
    async run(stage) {
      await stage.start();
      await stage.clients.load(200, 1500, { isStream: true, tokens: 50 });
      const before = stage.gateway.rssMB();
      const event = chunkOf(`data: {"choices":[{"index":0,"delta":{"content":"${'x'.repeat(8000)}"}}]}\n\n`);
      stage.engine.behave = async ({ peer }) => {
        peer.send(streamHead);
        for (let sent = 0; sent < 100_000_000 && !peer.isEnded; sent += event.length) {
          if (!peer.socket.write(event)) {
            await Promise.race([new Promise((resolve) => peer.socket.once('drain', resolve)), peer.ended()]);
          }
        }
      };
      const startMs = performance.now();
      for (let count = 0; count < 40; count++) {
        const { asked, wire } = stage.clients.request({ isStream: true });
        asked.isAbandoned = true;
        const client = await stage.clients.connect();
        client.pause();
        client.send(wire);
      }
      await sleep(2000);
      const heldKB = ((stage.gateway.rssMB() - before) * 1024) / 40;
      const sentEarly = stage.engine.peers.map(({ socket }) => socket.bytesWritten);
      await sleep(1000);
      const sentLater = stage.engine.peers.map(({ socket }) => socket.bytesWritten);
      stage.promise(heldKB <= 256, `${Math.round(heldKB)} KB held for each`);
      stage.promise(String(sentEarly) === String(sentLater), 'the engines are not paused');
      await stage.until(() => stage.engine.activeCount === 0, 'the streams are cut', 20_000);
      stage.note(
        `${Math.max(0, Math.round(heldKB))} KB held for each; engines paused; the last cut after ${((performance.now() - startMs) / 1000).toFixed(1)} s`,
      );
    },
  },
  {
    id: 'F06',
    how: '500 connections send a request line, then a field at 1 byte/s',
    async run(stage) {
      await stage.start();
      const startMs = performance.now();
      const slow = await openIdle(stage.gateway.port, 500, '127.0.0.1');
      stage.after(() => slow.forEach((client) => client.destroy()));
      for (const client of slow) client.send('POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-slow: ');
      const timer = setInterval(() => {
        for (const client of slow) if (!client.isEnded) client.send('x');
      }, 1000);
      const served = stage.clients.load(20, 3000);
      await stage.until(() => slow.every(({ isEnded }) => isEnded), 'every slow connection is closed', 20_000);
      clearInterval(timer);
      const lastMs = Math.max(...slow.map(({ endedMs }) => endedMs)) - startMs;
      stage.promise(lastMs < 14_000, `the last one was closed after ${(lastMs / 1000).toFixed(1)} s`);
      const asked = await served;
      stage.promise(asked.every(isServed), tally(asked));
      stage.note(`all closed after at most ${(lastMs / 1000).toFixed(1)} s; beside them ${tally(asked)}`);
    },
  },
  {
    id: 'F07',
    how: '100 bodies of 3 MB arrive at 1 KB/s, the model in their first bytes; dispatch_min_bytes 64KiB',
    async run(stage) {
      await stage.start({ top: 'limits: { dispatch_min_bytes: 64KiB }' });
      const before = stage.gateway.rssMB();
      const startMs = performance.now();
      const slow = await openIdle(stage.gateway.port, 100, '127.0.0.1');
      stage.after(() => slow.forEach((client) => client.destroy()));
      const asked = slow.map((client) => {
        const { asked } = stage.clients.request();
        client.send(
          `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-request-id: ${asked.id}\r\ncontent-length: 3000000\r\n\r\n{"model":"m","messages":[{"role":"user","content":"`,
        );
        return asked;
      });
      const finished = slow.map((client, index) => stage.clients.finish(client, asked[index]!));
      const timer = setInterval(() => {
        for (const client of slow) if (!client.isEnded) client.send('x'.repeat(1024));
      }, 1000);
      await sleep(4000);
      const { pools } = await stage.gateway.status();
      const inflight = pools.find(({ name }) => name === 'm')!.endpoints[0]!.inflight;
      const grownMB = stage.gateway.rssMB() - before;
      await stage.until(() => slow.every(({ isEnded }) => isEnded), 'every slow upload is closed', 25_000);
      clearInterval(timer);
      for (const each of await Promise.all(finished)) each.isAbandoned ||= each.status === 0;
      const lastMs = Math.max(...slow.map(({ endedMs }) => endedMs)) - startMs;
      stage.promise(inflight === 0, `they hold ${inflight} places at the endpoint`);
      stage.promise(grownMB < 100, `memory grew by ${Math.round(grownMB)} MB`);
      stage.promise(lastMs < 20_000, `the last one was closed after ${(lastMs / 1000).toFixed(1)} s`);
      stage.note(
        `all closed after at most ${(lastMs / 1000).toFixed(1)} s (${tally(asked)}); ${inflight} places at the endpoint held meanwhile; memory grew by ${Math.round(grownMB)} MB`,
      );
    },
  },
  {
    id: 'F08',
    how: '2,000 idle connections from one address; connections_per_address_max 200, where there is one',
    async run(stage) {
      const isCapped = knowsKey('connections_per_address_max');
      await stage.start(isCapped ? { top: 'limits: { connections_per_address_max: 200 }' } : {});
      const open = await openIdle(stage.gateway.port, 2000, '127.0.0.2');
      stage.after(() => open.forEach((client) => client.destroy()));
      const asked = await stage.clients.load(20, 1000);
      stage.promise(open.length <= 200, `${open.length} of 2000 connections of one address stay open`);
      stage.promise(asked.every(isServed), tally(asked));
      stage.note(`${open.length} of 2000 stayed open; from another address ${tally(asked)}`);
    },
  },
  {
    id: 'F09',
    how: 'every malformed request of the wire tests x 20, shuffled, 16 at a time',
    async run(stage) {
      await stage.start({ top: 'default_pool: m' });
      const random = seededRandom(9);
      const wires = Array.from({ length: 20 }, () => malformedHeads.map(({ wire }) => wire)).flat();
      for (let at = wires.length - 1; at > 0; at--) {
        const other = Math.floor(random() * (at + 1));
        [wires[at], wires[other]] = [wires[other]!, wires[at]!];
      }
      let halfMB = 0;
      let next = 0;
      const lane = async (): Promise<void> => {
        for (let wire = wires[next++]; wire !== undefined; wire = wires[next++]) {
          if (next === wires.length >> 1) halfMB = stage.gateway.rssMB();
          const client = await stage.clients.connect();
          client.send(wire);
          // Some are answered with silence until a timer closes them; nobody waits for that here.
          await Promise.race([client.ended(), sleep(40)]);
          client.destroy();
        }
      };
      await Promise.all(Array.from({ length: 16 }, lane));
      const grownMB = stage.gateway.rssMB() - halfMB;
      const reached = stage.engine.executions.length;
      stage.promise(reached === 0, `${reached} reached the engine`);
      stage.promise(grownMB < 15, `memory grew by ${Math.round(grownMB)} MB over the second half`);
      stage.note(
        `${wires.length} requests, ${reached} reached the engine; memory grew by ${Math.max(0, Math.round(grownMB))} MB over the second half`,
      );
    },
  },
  {
    id: 'F10',
    how: 'random mutations of a chat request, one to three a request, 16 at a time for 8 s',
    async run(stage) {
      await stage.start({ top: 'default_pool: m' });
      const seed = Date.now() % 1_000_000;
      const random = seededRandom(seed);
      /** The body each engine request must be a piece of: what some client sent lately. */
      const recent: string[] = [];
      let strange = '';
      let reached = 0;
      stage.engine.behave = async (turn) => {
        reached++;
        if (turn.execution.isRequestWhole && !recent.some((wire) => wire.includes(turn.text))) strange ||= turn.text;
        await speak()(turn);
      };
      const endMs = performance.now() + 8000;
      let count = 0;
      const lane = async (): Promise<void> => {
        while (performance.now() < endMs) {
          // These are no requests the three logs could compare: what they ask is not known any more.
          const { wire: whole } = stage.clients.request();
          stage.clients.asked.pop();
          let wire = whole;
          for (let changes = 1 + Math.floor(random() * 3); changes > 0; changes--) wire = mutate(wire, random);
          recent.push(wire);
          if (recent.length > 500) recent.shift();
          count++;
          const client = await stage.clients.connect();
          client.send(wire);
          await Promise.race([client.readUntil('\r\n\r\n').catch(() => {}), sleep(15)]);
          client.destroy();
        }
      };
      await Promise.all(Array.from({ length: 16 }, lane));
      stage.promise(
        strange === '',
        `seed ${seed}: the engine got what nobody sent: ${JSON.stringify(strange.slice(0, 200))}`,
      );
      stage.promise(reached > 0, 'no mutation reached the engine: nothing was compared');
      stage.note(
        `${count} mutated requests (seed ${seed}), ${reached} reached the engine, each a piece of what was sent`,
      );
    },
  },
  {
    id: 'F11',
    how: '60 clients end their sending half behind the request, half of them of streams',
    async run(stage) {
      await stage.start();
      stage.engine.behave = speak(20);
      const asked = await Promise.all(
        Array.from({ length: 60 }, async (_, number) => {
          const { asked, wire } = stage.clients.request({ isStream: number % 2 === 0, tokens: 5 });
          const client = await stage.clients.connect();
          client.send(wire);
          client.finish();
          return stage.clients.finish(client, asked);
        }),
      );
      for (const each of asked) each.isAbandoned = !isServed(each);
      await stage.until(() => stage.engine.activeCount === 0, 'no engine is active');
      const paid = asked.filter((each) => {
        const execution = stage.engine.executions.find(({ id }) => id === each.id);
        return !isServed(each) && execution?.outcome === 'answered';
      });
      stage.promise(paid.length === 0, `${paid.length} were answered by the engine and not to the client`);
      stage.note(
        `${tally(asked)}; ${stage.engine.executions.filter(({ outcome }) => outcome === 'abandoned').length} cancelled at the engine`,
      );
    },
  },
  {
    id: 'F12',
    how: '80 clients, each asking again 25 ms after a refusal, where 8 have capacity; a tenth of the answers is 503',
    async run(stage) {
      await stage.start({ engines: 2, pool: 'inflight_max: 4, queue: { requests_max: 16, wait_ms: 500ms }' });
      let turns = 0;
      for (const engine of stage.engines) {
        engine.behave = async (turn) => {
          await sleep(50);
          if (turns++ % 10 !== 0) return speak()(turn);
          turn.execution.outcome = 'failed';
          return refuse(503)(turn);
        };
      }
      const all: Asked[] = [];
      /** Clients that ask again whatever they are told; returns how many were served a second. */
      const goodputOf = async (clients: number, forMs: number): Promise<number> => {
        const startMs = performance.now();
        const before = all.filter(isServed).length;
        const lane = async (): Promise<void> => {
          while (performance.now() < startMs + forMs) {
            const asked = await stage.clients.ask();
            all.push(asked);
            if (!isServed(asked)) await sleep(25);
          }
        };
        await Promise.all(Array.from({ length: clients }, lane));
        return ((all.filter(isServed).length - before) * 1000) / (performance.now() - startMs);
      };
      // As many as there are places: nobody is refused for want of room.
      const capacity = await goodputOf(8, 1500);
      const goodput = await goodputOf(80, 4000);
      const executed = stage.engines.reduce((sum, { executions }) => sum + executions.length, 0);
      const dispatched = new Set(stage.engines.flatMap(({ executions }) => executions.map(({ id }) => id))).size;
      const retries = await stage.gateway.metric('penstock_retries_total');
      stage.promise(goodput >= capacity * 0.8, `goodput ${Math.round(goodput)}/s of ${Math.round(capacity)}/s`);
      stage.promise(retries <= all.length * 0.2 + 6, `${retries} retries of ${dispatched} requests`);
      const refused = all.filter((each) => !isServed(each));
      stage.promise(
        refused.every(({ status }) => status === 503),
        tally(refused),
      );
      stage.note(
        `goodput ${Math.round(goodput)}/s in the storm, ${Math.round(capacity)}/s without; ${executed} executions, ${retries} retries; ${tally(all)}`,
      );
    },
  },
];
