import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** Listens with the smallest backlog, says its port, and then never runs again. */
const program = `
const server = require('node:net').createServer();
server.listen(0, '127.0.0.1', 1, () => {
  require('node:fs').writeSync(1, String(server.address().port));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
`;

/** Room for connections nobody accepts: the backlog and one more. */
const queuedCount = 2;

export interface BlackHole {
  readonly url: string;
  close(): void;
}

/** An address where a connection gets no answer at all, neither accepted nor refused: its queue in the kernel is full. */
export async function blackHole(): Promise<BlackHole> {
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  const sockets: Socket[] = [];
  for (let count = 0; count < queuedCount; count++) {
    const socket = connect(Number(port.toString()), '127.0.0.1');
    await once(socket, 'connect');
    socket.on('error', () => {}); // It is reset when the process ends.
    sockets.push(socket);
  }
  return {
    url: `http://127.0.0.1:${port.toString()}`,
    close() {
      for (const socket of sockets) socket.destroy();
      child.kill('SIGKILL');
    },
  };
}
