import { begin, silence, speak } from '../engine.ts';
import type { FaultRow } from '../row.ts';
import type { Stage } from '../stage.ts';

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
];
