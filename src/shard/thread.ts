/**
 * Entry point of an accept thread: connects a `Shard` to the control thread's messages. A thread is no fault boundary for
 * native code, but an uncaught JavaScript error ends only this thread when the acceptor is closed on the way out.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { ControlToShard, ShardInit, ShardToControl } from './protocol.ts';
import { Shard } from './shard.ts';

const port = parentPort!;
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Control builds it from the same type.
const init = workerData as ShardInit;

function send(message: ShardToControl): void {
  port.postMessage(message);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

let shard: Shard;
try {
  shard = await Shard.create(init, { onLog: (lines) => send({ kind: 'log', lines }) });
} catch (error) {
  send({ kind: 'failed', phase: 'start', message: messageOf(error) });
  port.close();
  throw error;
}

// Without this an uncaught error or process.exit in this thread aborts the whole process (docs/acceptor.md).
process.on('exit', () => shard.close());

// What nobody caught, a rejection too, is contained where it can be. Thrown again it would abort the process: 'exit' is
// not emitted then.
process.on('uncaughtException', (error: unknown) => {
  if (shard.containUncaught(error)) return;
  send({ kind: 'dying', error: error instanceof Error ? error : new Error(String(error)) });
  process.exit(1);
});

port.on('message', (message: ControlToShard) => {
  void handle(message);
});
send({ kind: 'loaded', uws: shard.uwsBuild });

async function handle(message: ControlToShard): Promise<void> {
  switch (message.kind) {
    case 'listen':
      try {
        send({ kind: 'listening', ports: await shard.listen(message.ports) });
      } catch (error) {
        send({ kind: 'failed', phase: 'listen', message: messageOf(error) });
      }
      return;
    case 'snapshot':
      try {
        await shard.apply(message.snapshot);
        send({ kind: 'applied', version: message.snapshot.version });
      } catch (error) {
        send({ kind: 'failed', phase: 'snapshot', message: messageOf(error), version: message.snapshot.version });
      }
      return;
    case 'exchanges':
      send({ kind: 'exchanges', askId: message.askId, exchanges: shard.exchanges() });
      return;
    case 'logged':
      shard.acknowledgeLog(message.chars);
      return;
    case 'drain':
      await shard.drain(message.drainMs);
      send({ kind: 'drained' });
      return;
    case 'stop':
      shard.close();
      port.close();
      process.exit(0);
  }
}
