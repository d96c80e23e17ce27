// Runs `npm start` as a newcomer would and uses it with a real HTTP client, for at most 60 seconds. Exits 1, saying what
// was wrong, unless every answer is right and the gateway holds nothing afterwards.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const deadline = Date.now() + 60_000;

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function check(condition, text) {
  if (!condition) throw new Error(text);
  console.log(`ok  ${text}`);
}

async function until(what, probe) {
  for (;;) {
    try {
      const found = await probe();
      if (found) return found;
    } catch {
      // Not there yet.
    }
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`);
    await delay(100);
  }
}

const port = await freePort();
const adminPort = await freePort();
const base = `http://127.0.0.1:${port}`;
const admin = `http://127.0.0.1:${adminPort}`;

function chat(content, extra = {}) {
  return fetch(`${base}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo-model', messages: [{ role: 'user', content }], max_tokens: 16, ...extra }),
    signal: AbortSignal.timeout(30_000),
  });
}

const started = Date.now();
const program = spawn('npm', ['start', '--', '--port', String(port), '--admin-port', String(adminPort)], {
  stdio: ['ignore', 'pipe', 'inherit'],
  detached: true, // A process group of its own, so that Ctrl-C can be sent to all of it, as a terminal does.
});
let printed = '';
program.stdout.on('data', (chunk) => (printed += chunk));
const exited = new Promise((resolve) => program.once('exit', (code) => resolve(code)));
let code = 1;
try {
  await until('/ready', async () => (await fetch(`${admin}/ready`)).status === 200);
  console.log(`ready after ${Date.now() - started} ms`);
  await until('the printed curl', () => printed.includes('curl -N'));

  const plain = await chat('Say something.');
  const answer = await plain.json();
  check(plain.status === 200 && answer.choices[0].message.content.length > 0, 'a plain request is answered');
  check(
    plain.headers.get('x-request-id') !== null && plain.headers.get('x-sim-endpoint') !== null,
    'the answer names its request and its endpoint',
  );

  const stream = await chat('Stream something.', { stream: true });
  const text = await stream.text();
  check(stream.headers.get('content-type').startsWith('text/event-stream'), 'a streaming request gets an event stream');
  check(text.split('\n\n').filter((event) => event.startsWith('data: {')).length >= 3, 'events arrive');
  check(text.endsWith('data: [DONE]\n\n'), 'the stream ends with [DONE]');

  const large = await chat('word '.repeat(630_000), { max_tokens: 1 });
  const usage = (await large.json()).usage;
  check(
    large.status === 200 && usage.prompt_tokens > 100_000,
    `a 3 MB request is answered (${usage?.prompt_tokens} prompt tokens)`,
  );

  const unknown = await fetch(`${base}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"model":',
  });
  check(unknown.status === 400 && (await unknown.json()).error.code === 'body_invalid', 'malformed JSON is refused');

  const leases = await until('no lease outstanding', async () => {
    const { outstanding, taken } = await (await fetch(`${admin}/leases`)).json();
    return Object.values(outstanding).every((count) => count === 0) && taken;
  });
  check(leases.exchange >= 4, `nothing is held (${leases.exchange} exchanges)`);
  const metrics = await (await fetch(`${admin}/metrics`)).text();
  check(!/^penstock_bug_total\{[^}]*\} [1-9]/m.test(metrics), 'no defect was counted');
  code = 0;
} catch (error) {
  console.error(`smoke: ${error.message}`);
} finally {
  process.kill(-program.pid, 'SIGINT');
  const result = await Promise.race([exited, delay(15_000, 'still running')]);
  console.log(`npm start ended: ${result}`);
  if (result === 'still running') {
    process.kill(-program.pid, 'SIGKILL');
    code = 1;
  }
}
process.exit(code);
