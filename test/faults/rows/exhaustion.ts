import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AddressInfo, createServer } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import type { RawClient } from '../../rig/raw-client.ts';
import { type Asked, clientTo } from '../asking.ts';
import { speak } from '../engine.ts';
import { Gateway } from '../gateway.ts';
import type { FaultRow } from '../row.ts';
import type { Stage } from '../stage.ts';
import { isServed, tally } from '../tally.ts';

const certificate = {
  cert: fileURLToPath(new URL('../../fixtures/tls/cert.pem', import.meta.url)),
  key: fileURLToPath(new URL('../../fixtures/tls/key.pem', import.meta.url)),
};
const tls = `{ certificates: [{ cert_path: "${certificate.cert}", key_path: "${certificate.key}" }] }`;

/** Share of a core that the gateway takes for the next `forMs`. */
async function cpuRatioFor(stage: Stage, forMs: number): Promise<number> {
  const before = stage.gateway.cpuSeconds();
  await sleep(forMs);
  return ((stage.gateway.cpuSeconds() - before) * 1000) / forMs;
}

async function idleClients(stage: Stage, port: number, count: number): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => clientTo(port).catch(() => null)));
  const open = clients.filter((client) => client !== null);
  stage.after(() => open.forEach((client) => client.destroy()));
  return open;
}

/** Longest of a few looks at the admin port, in ms. */
async function adminMs(stage: Stage): Promise<number> {
  let worst = 0;
  for (let count = 0; count < 5; count++) {
    const startMs = performance.now();
    await stage.gateway.ask('/ready', 5000);
    worst = Math.max(worst, performance.now() - startMs);
  }
  return worst;
}

/** Makes system calls of the running gateway fail until the function returned is called. */
async function inject(stage: Stage, rule: string): Promise<() => Promise<void>> {
  const call = rule.split(':')[0]!;
  const args = [
    '-f',
    '-q',
    '-o',
    '/dev/null',
    '-e',
    `trace=${call}`,
    '-e',
    `inject=${rule}`,
    '-p',
    String(stage.gateway.pid),
  ];
  const tracer = spawn('strace', args, { stdio: 'ignore' });
  const exited = once(tracer, 'exit');
  await stage.until(
    () => /^TracerPid:\s+[1-9]/m.test(readFileSync(`/proc/${stage.gateway.pid}/status`, 'utf8')),
    'strace is attached',
  );
  return async () => {
    tracer.kill('SIGTERM');
    await exited;
  };
}

/** Keeps one core busy. */
function burn(stage: Stage, core: number): void {
  const child = spawn('taskset', ['-c', String(core), process.execPath, '-e', 'for (;;);'], { stdio: 'ignore' });
  stage.after(() => void child.kill('SIGKILL'));
}

/** Answers A questions for `engine.test` with 127.0.0.1, until it is told to be silent. Nothing else exists. */
async function startDns(stage: Stage): Promise<{ fall: () => void }> {
  const socket = createSocket('udp4');
  let isSilent = false;
  socket.on('message', (question, { port, address }) => {
    if (isSilent) return;
    const isKnown = question.includes(Buffer.from('\x06engine\x04test'));
    const isA = question.readUInt16BE(question.indexOf(0, 12) + 1) === 1;
    const end = question.indexOf(0, 12) + 5;
    const head = Buffer.from(question.subarray(0, end));
    head.writeUInt16BE(isKnown ? 0x8180 : 0x8183, 2);
    head.writeUInt16BE(isKnown && isA ? 1 : 0, 6);
    head.writeUInt32BE(0, 8);
    const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    socket.send(isKnown && isA ? Buffer.concat([head, answer]) : head, port, address);
  });
  socket.bind(53, '127.0.0.1');
  await once(socket, 'listening');
  stage.after(() => void socket.close());
  return { fall: () => (isSilent = true) };
}

export const exhaustionRows: readonly FaultRow[] = [
  {
    id: 'F48',
    how: 'prlimit --nofile=256; 600 idle connections, 5 s; requests on connections that were there before; then the idle ones go',
    tools: ['prlimit'],
    async run(stage) {
      await stage.start({ wrapper: ['prlimit', '--nofile=256:256'] });
      const early = await Promise.all(Array.from({ length: 5 }, () => stage.clients.connect()));
      for (const client of early) {
        const { asked, wire } = stage.clients.request();
        client.send(wire);
        await stage.clients.finish(client, asked);
      }
      const cpuBefore = await cpuRatioFor(stage, 1000);
      const idle = await idleClients(stage, stage.gateway.port, 600);
      await sleep(300);
      const cpu = (await cpuRatioFor(stage, 2000)) - cpuBefore;
      const worstAdminMs = await adminMs(stage).catch(() => Infinity);
      const during: Asked[] = [];
      for (const client of early) {
        const { asked, wire } = stage.clients.request();
        client.send(wire);
        during.push(await stage.clients.finish(client, asked));
        client.destroy();
      }
      for (const client of idle) client.destroy();
      await sleep(200);
      const later = await stage.clients.load(20, 500);
      stage.promise(cpu < 0.2, `${cpu.toFixed(2)} of a core more than without`);
      stage.promise(worstAdminMs < 1000, `the admin port answers after ${worstAdminMs} ms`);
      stage.promise(during.every(isServed), `on connections it has: ${tally(during)}`);
      stage.promise(later.every(isServed), `afterwards: ${tally(later)}`);
      stage.note(
        `${Math.max(0, cpu).toFixed(2)} of a core more than without; admin within ${Math.round(worstAdminMs)} ms; connections it has: ${tally(during)}; afterwards ${tally(later)}`,
      );
    },
  },
  {
    id: 'F49',
    how: 'prlimit --nofile=256; 220 requests at once to an engine that takes 1.5 s, each on a connection of its own',
    tools: ['prlimit'],
    async run(stage) {
      await stage.start({ wrapper: ['prlimit', '--nofile=256:256'], isQuiet: true });
      stage.engine.behave = speak(1500);
      const asked = await Promise.all(Array.from({ length: 220 }, () => stage.clients.ask()));
      const slowestMs = Math.max(...asked.map(({ startMs, endMs }) => endMs - startMs));
      for (const each of asked) each.mayBeLost ||= each.status === 0;
      const hung = asked.filter(
        ({ status, failure }) => status === 0 && failure !== 'ended' && failure !== 'ECONNRESET',
      );
      stage.promise(hung.length === 0, tally(asked));
      const refused = asked.filter(({ status }) => status !== 0 && status !== 200);
      stage.promise(
        refused.every(({ status }) => status === 503),
        tally(refused),
      );
      stage.promise(slowestMs < 6000, `the slowest took ${Math.round(slowestMs)} ms`);
      stage.engine.behave = speak();
      const later = await stage.clients.load(20, 500);
      stage.promise(later.every(isServed), `afterwards: ${tally(later)}`);
      stage.note(`${tally(asked)}, the slowest in ${Math.round(slowestMs)} ms; afterwards ${tally(later)}`);
    },
  },
  {
    id: 'F50',
    how: 'the log goes to a file on a tmpfs of 64 KB; 200 requests/s for 2 s',
    isApart: true,
    async run(stage) {
      const folder = stage.folder();
      spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', folder]);
      stage.after(() => void spawnSync('umount', ['-l', folder]));
      stage.areRecordsLost = true;
      await stage.start({ stdout: join(folder, 'penstock.log') });
      const asked = await stage.clients.load(200, 2000);
      const dropped = await stage.gateway.metric('penstock_log_lines_dropped_total');
      stage.promise(asked.every(isServed), tally(asked));
      stage.promise(dropped > 0, 'no dropped line is counted');
      stage.note(`${tally(asked)}; ${dropped} dropped lines counted`);
    },
  },
  {
    id: 'F51',
    how: 'stdout is a pipe nobody reads; 2,500 requests with lines of 7 KB (17 MB of log); then it is read again',
    async run(stage) {
      await stage.start({ stdout: 'unread' });
      stage.areRecordsLost = true;
      const before = stage.gateway.rssMB();
      const path = `/${'a'.repeat(7000)}`;
      let count = 0;
      const lane = async (): Promise<void> => {
        const client = await stage.clients.connect();
        while (count++ < 2500) {
          client.send(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`);
          await client.readUntil('"not_found"}}');
        }
        client.destroy();
      };
      await Promise.all(Array.from({ length: 8 }, lane));
      const asked = await stage.clients.load(50, 1000);
      const grownMB = stage.gateway.rssMB() - before;
      const dropped = await stage.gateway.metric('penstock_log_lines_dropped_total');
      stage.gateway.readOn();
      stage.promise(asked.every(isServed), tally(asked));
      stage.promise(dropped > 0, 'no dropped line is counted');
      stage.promise(grownMB < 80, `memory grew by ${Math.round(grownMB)} MB`);
      await stage.until(() => stage.gateway.output().includes('"msg":"access"'), 'the log is written again');
      stage.note(`${tally(asked)}; ${dropped} dropped lines counted; memory grew by ${Math.round(grownMB)} MB`);
    },
  },
  {
    id: 'F52',
    how: '--max-old-space-size=128; 80 x 3 MB at once to an engine that takes 1 s; buffered_bytes_max 128MiB',
    async run(stage) {
      stage.calmErrorsBecause = 'it shares the memory, and is told 503 like the others';
      stage.calmP99BoundMs = 8000;
      await stage.start({ nodeFlags: ['--max-old-space-size=128'], top: 'limits: { buffered_bytes_max: 128MiB }' });
      stage.engine.behave = speak(1000);
      const asked = await Promise.all(Array.from({ length: 80 }, () => stage.clients.ask({ promptBytes: 3_000_000 })));
      stage.promise(
        asked.every((each) => isServed(each) || each.status === 503),
        tally(asked),
      );
      stage.note(tally(asked));
    },
  },
  {
    id: 'F53',
    how: 'a cgroup of 300 MB; 150 x 3 MB at once to an engine that takes 1 s; limits as they are by default',
    async run(stage) {
      const group = `/sys/fs/cgroup/memory/penstock-faults-${process.pid}`;
      mkdirSync(group);
      stage.after(async () => {
        for (let tries = 0; tries < 50 && existsSync(group); tries++) {
          try {
            rmdirSync(group);
          } catch {
            await sleep(50); // Its last process is still ending.
          }
        }
      });
      writeFileSync(join(group, 'memory.limit_in_bytes'), String(300 * 1024 * 1024));
      // Chats beside it are bodies, too.
      stage.calmErrorsBecause = 'there is no memory for any body';
      const enter = `echo $$ > ${group}/cgroup.procs; exec "$0" "$@"`;
      await stage.start({ wrapper: ['sh', '-c', enter] });
      stage.engine.behave = speak(1000);
      const asked = await Promise.all(Array.from({ length: 150 }, () => stage.clients.ask({ promptBytes: 3_000_000 })));
      for (const each of asked) each.mayBeLost ||= each.status === 0;
      stage.promise(
        asked.every((each) => isServed(each) || each.status === 503 || each.status === 429),
        tally(asked),
      );
      stage.note(tally(asked));
    },
  },
  {
    id: 'F54',
    how: 'ip_local_port_range of 100; 150 requests at once to an engine that takes 1.5 s, from 150 addresses; then 20',
    isApart: true,
    async run(stage) {
      await stage.start({ pool: 'retries: { attempts: 0 }' });
      await stage.sysctl('net.ipv4.ip_local_port_range', '40000 40099');
      stage.engine.behave = speak(1500);
      const ask = (number: number): Promise<Asked> =>
        stage.clients.ask({ localAddress: `127.0.1.${1 + (number % 200)}` });
      const asked = await Promise.all(Array.from({ length: 150 }, (_, number) => ask(number)));
      const refused = asked.filter((each) => !isServed(each));
      const slowestMs = Math.max(...refused.map(({ startMs, endMs }) => endMs - startMs), 0);
      stage.promise(
        refused.every(({ status }) => status === 503),
        `for want of a port: ${tally(refused)}`,
      );
      stage.promise(slowestMs < 1000, `they were refused after ${Math.round(slowestMs)} ms`);
      stage.engine.behave = speak();
      const later = await Promise.all(Array.from({ length: 20 }, (_, number) => ask(number)));
      stage.promise(later.every(isServed), `on pooled connections: ${tally(later)}`);
      stage.note(`${tally(asked)}; then on pooled connections ${tally(later)}`);
    },
  },
  {
    id: 'F55',
    how: 'the gateway and a loop that never ends share one core (taskset), 4 s, 30 requests/s',
    tools: ['taskset'],
    async run(stage) {
      burn(stage, 0);
      await stage.start({ wrapper: ['taskset', '-c', '0'] });
      const load = stage.clients.load(30, 4000);
      await sleep(500);
      const worstAdminMs = await adminMs(stage);
      const asked = await load;
      const slowestMs = Math.max(...asked.map(({ startMs, endMs }) => endMs - startMs));
      stage.promise(
        asked.every((each) => isServed(each) || each.status === 429 || each.status === 503),
        tally(asked),
      );
      stage.promise(worstAdminMs < 1000, `the admin port answers after ${Math.round(worstAdminMs)} ms`);
      stage.note(
        `${tally(asked)}, the slowest in ${Math.round(slowestMs)} ms; admin within ${Math.round(worstAdminMs)} ms`,
      );
    },
  },
  {
    id: 'F56',
    how: 'strace makes every 5th accept4 ECONNABORTED, sendto EPIPE, writev EPIPE, connect ENOMEM, recvfrom ECONNRESET, read EIO of sockets; 40 requests/s for 1 s each',
    tools: ['strace'],
    async run(stage) {
      stage.calmErrorsBecause = 'its own system calls fail too';
      await stage.start();
      const told: string[] = [];
      for (const rule of [
        'accept4:error=ECONNABORTED:when=3+5',
        'sendto:error=EPIPE:when=3+5',
        'writev:error=EPIPE:when=3+5',
        'connect:error=ENOMEM:when=3+5',
        'recvfrom:error=ECONNRESET:when=3+5',
      ]) {
        const stop = await inject(stage, rule);
        const asked = await stage.clients.load(40, 1000, { isStream: true });
        await stop();
        for (const each of asked) each.mayBeLost ||= !isServed(each);
        told.push(`${rule.split(':').slice(0, 2).join(' ')}: ${tally(asked)}`);
      }
      const later = await stage.clients.load(20, 500);
      stage.promise(later.every(isServed), `afterwards: ${tally(later)}`);
      stage.note(`${told.join('; ')}; afterwards ${tally(later)}`);
    },
  },
  {
    id: 'F57',
    how: 'the resolver falls silent behind the first answers; an endpoint by name, another that never had an address; 10 requests/s for 13 s',
    isApart: true,
    async run(stage) {
      const folder = stage.folder();
      writeFileSync(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n');
      spawnSync('mount', ['--bind', join(folder, 'resolv.conf'), '/etc/resolv.conf']);
      const dns = await startDns(stage);
      const engine = await stage.engineOf('named');
      const { port } = new URL(engine.url);
      await stage.start({
        engines: 0,
        targets: '[{ pool: m }]',
        endpoints: [`{ url: "http://engine.test:${port}" }`],
        pool: 'keepalive_idle_ms: 0',
        pools: ['{ name: lost, engine: none, picker: round_robin, endpoints: [{ url: "http://never.test:1" }] }'],
        filters: [],
        models: '  - { name: lost, targets: [{ pool: lost }] }\n',
      });
      const first = await stage.clients.ask();
      stage.promise(isServed(first), `with DNS: ${tally([first])}`);
      dns.fall();
      // Longer than a look-up is believed, so that it is asked again and gets no answer.
      const [asked, lost] = await Promise.all([
        stage.clients.load(10, 13_000),
        stage.clients.load(2, 5000, { model: 'lost' }),
      ]);
      const slowestMs = Math.max(...asked.map(({ startMs, endMs }) => endMs - startMs));
      stage.promise(asked.every(isServed), tally(asked));
      stage.promise(slowestMs < 500, `the slowest took ${Math.round(slowestMs)} ms`);
      stage.promise(
        lost.every(({ status }) => status === 502 || status === 503),
        `without an address: ${tally(lost)}`,
      );
      stage.note(
        `${tally(asked)}, the slowest in ${Math.round(slowestMs)} ms; the endpoint without an address: ${tally(lost)}`,
      );
    },
  },
  {
    id: 'F59',
    how: 'on a TLS listener 200 connections that say nothing, 200 that send garbage, and 50 handshakes/s for 3 s',
    async run(stage) {
      await stage.start({ tls });
      const { tlsPort } = stage.gateway;
      const startMs = performance.now();
      const silent = await idleClients(stage, tlsPort, 200);
      const garbage = await idleClients(stage, tlsPort, 200);
      for (const client of garbage) client.send('\x16\x03\x01 garbage, not a handshake\r\n\r\n');
      const cpuBefore = stage.gateway.cpuSeconds();
      let handshakes = 0;
      const endMs = performance.now() + 3000;
      const load = stage.clients.load(20, 3000);
      while (performance.now() < endMs) {
        const socket = tlsConnect({ host: '127.0.0.1', port: tlsPort, rejectUnauthorized: false }, () => {
          handshakes++;
          socket.destroy();
        });
        socket.on('error', () => {});
        await sleep(20);
      }
      const cpu = (stage.gateway.cpuSeconds() - cpuBefore) / 3;
      const asked = await load;
      await stage.until(() => [...silent, ...garbage].every(({ isEnded }) => isEnded), 'they are closed', 15_000);
      const lastMs = Math.max(...[...silent, ...garbage].map(({ endedMs }) => endedMs)) - startMs;
      stage.promise(asked.every(isServed), tally(asked));
      stage.promise(cpu < 0.9, `${cpu.toFixed(2)} of a core`);
      stage.promise(handshakes > 50, `only ${handshakes} handshakes came about`);
      stage.note(
        `all closed after at most ${(lastMs / 1000).toFixed(1)} s; ${handshakes} handshakes beside; ${cpu.toFixed(2)} of a core; ${tally(asked)}`,
      );
    },
  },
  {
    id: 'F60',
    how: 'a second gateway starts with stdout on a full disk (/dev/full), then one whose admin port another program has',
    async run(stage) {
      await stage.start();
      const full = await Gateway.start({
        yaml: stage.yaml({}),
        listener: 'filter_chains: [edge]',
        stdout: '/dev/full',
      }).catch((error: unknown) => error as { code?: number | null });
      let seen = 'it does not start';
      if (full instanceof Gateway) {
        const answer = await fetch(`${full.url}/v1/models`);
        seen = `it starts whole: ${answer.status}`;
        stage.promise(answer.status === 200, seen);
        stage.promise((await full.stop()) === 0, 'it does not drain');
        full.remove();
      } else stage.promise((full.code ?? 0) !== 0, 'it ends with 0');
      const stranger = createServer().listen(0, '127.0.0.1');
      await once(stranger, 'listening');
      stage.after(() => void stranger.close());
      const { port } = stranger.address() as AddressInfo;
      const blocked = await Gateway.attempt({
        yaml: stage.yaml({}),
        listener: 'filter_chains: [edge]',
        adminPort: port,
      });
      const code = await Promise.race([blocked.exited, sleep(8000)]);
      stage.promise(code === 2, `with the admin port taken it exits with ${String(code)}`);
      const lines = blocked.output().trim();
      stage.promise(lines.includes(String(port)), `it does not say what is taken: ${lines.slice(0, 200)}`);
      blocked.kill();
      blocked.remove();
      stage.note(`${seen}; with the admin port taken it exits with ${String(code)}`);
    },
  },
];
