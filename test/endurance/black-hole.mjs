/** An address where a connection is neither accepted nor refused: its queue in the kernel is full. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';

const program = `
const server = require('node:net').createServer();
server.listen(0, '127.0.0.1', 1, () => {
  require('node:fs').writeSync(1, String(server.address().port));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
`;
/** The backlog and one more. */
const queuedCount = 2;

export async function blackHole() {
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'ignore'] });
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  const [text] = await once(child.stdout, 'data');
  const port = Number(String(text));
  const sockets = await Promise.all(
    Array.from({ length: queuedCount }, async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.on('error', () => {}); // It is reset when the process ends.
      return socket;
    }),
  );
  return {
    port,
    close() {
      for (const socket of sockets) socket.destroy();
      process.off('exit', end);
      child.kill('SIGKILL');
    },
  };
}
