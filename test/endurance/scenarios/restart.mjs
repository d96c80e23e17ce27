/**
 * What a native crash costs (`npm run soak -- restart --seconds 60`): the gateway process is ended from
 * outside, by one signal after the other, and a client tries to connect the whole time. Measured: from the signal to the first
 * connection that is accepted by the next process, and to the first answer.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Engine } from '../operations/engines.mjs';
import { percentile } from '../operations/load.mjs';
import { scenarioOf } from '../operations/outcome.mjs';
import { freePort, GatewayProcess } from '../operations/process.mjs';

const signals = /** @type {const} */ (['SIGABRT', 'SIGSEGV', 'SIGKILL']);
/** As the signals of a crash: a life of 30 s counts as healthy, shorter ones wait longer and longer (control/backoff.ts). */
const roundsPerLife = 2;

export const restart = scenarioOf({
  name: 'restart',
  summary: 'the process ends by a native crash; how long until the next one accepts',
  run: runRestart,
});

/** @param {{ seconds: number }} options @returns {Promise<import('../operations/outcome.mjs').Outcome>} */
async function runRestart({ seconds }) {
  const folder = await mkdtemp(join(tmpdir(), 'penstock-restart-'));
  const engine = await new Engine(100).listen();
  const endMs = performance.now() + seconds * 1000;
  /** @type {Record<string, number[]>} */
  const connectMs = {};
  /** @type {number[]} */
  const answerMs = [];
  /** @type {(number | null)[]} */
  const exitCodes = [];
  for (let life = 0; life === 0 || performance.now() < endMs; life++) {
    const [port, adminPort] = [await freePort(), await freePort()];
    const path = join(folder, 'gateway.yaml');
    await writeFile(
      path,
      `listeners: [{ name: public, address: "127.0.0.1:${port}" }]
admin: { address: "127.0.0.1:${adminPort}" }
runtime: { shards: 2 }
pools: [{ name: only, engine: none, endpoints: [{ url: "${engine.url}" }] }]
`,
    );
    const gateway = new GatewayProcess(path);
    let pid = Number((await gateway.ready())['pid']);
    for (let round = 0; round < roundsPerLife; round++) {
      const signal = signals[(life * roundsPerLife + round) % signals.length] ?? 'SIGABRT';
      const startMs = performance.now();
      process.kill(pid, signal);
      // The dying process may accept for a moment still: it is gone when its port refuses.
      while (await accepts(port)) await sleep(1);
      while (!(await accepts(port))) await sleep(1);
      (connectMs[signal] ??= []).push(performance.now() - startMs);
      while ((await answer(port)) !== 200) await sleep(1);
      answerMs.push(performance.now() - startMs);
      while ((pid = Number(gateway.said('ready')[round + 1]?.['pid'] ?? 0)) === 0) await sleep(5);
    }
    gateway.kill('SIGTERM');
    exitCodes.push(await gateway.ended);
  }
  engine.close();
  await rm(folder, { recursive: true });

  const all = Object.values(connectMs).flat();
  const worstMs = Math.max(...all);
  const figures = Object.fromEntries(
    Object.entries(connectMs).map(([signal, values]) => [
      signal,
      { count: values.length, p50: Math.round(percentile(values, 0.5)), max: Math.round(Math.max(...values)) },
    ]),
  );
  return {
    promises: [
      {
        text: 'signal to first accepted connection: at most 2000 ms',
        isKept: worstMs <= 2000,
        seen: `${Math.round(worstMs)} ms`,
      },
      { text: 'exit code 0 at the end', isKept: exitCodes.every((code) => code === 0), seen: exitCodes.join(' ') },
    ],
    figures: {
      to_first_connection_ms: {
        ...figures,
        p50: Math.round(percentile(all, 0.5)),
        p99: Math.round(percentile(all, 0.99)),
      },
      to_first_answer_ms: { p50: Math.round(percentile(answerMs, 0.5)), max: Math.round(Math.max(...answerMs)) },
    },
  };
}

/** @param {number} port */
async function accepts(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** @param {number} port @returns {Promise<number>} the status, 0 when there is none */
async function answer(port) {
  const body = JSON.stringify({ model: 'm', token: 't', stream: false });
  const request = httpRequest({ host: '127.0.0.1', port, method: 'POST', path: '/v1/chat/completions', agent: false });
  request.end(body);
  try {
    const [response] = /** @type {[import('node:http').IncomingMessage]} */ (await once(request, 'response'));
    response.resume();
    return response.statusCode ?? 0;
  } catch {
    return 0;
  }
}
