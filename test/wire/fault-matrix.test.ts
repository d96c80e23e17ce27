import { expect, test } from 'vitest';
import { parseConfig } from '../../src/config/index.ts';
import { modelRowsOf } from '../../src/control/model-rows.ts';
import { EndpointState } from '../../src/shm/index.ts';
import {
  matrix,
  type MatrixFault,
  matrixFaults,
  matrixPhases,
  type MatrixPhase,
  type Outcome,
} from '../faults/matrix.ts';
import {
  answerText,
  type BlackHole,
  blackHole,
  chatRequest,
  type RawClient,
  type Rig,
  requestText,
  rig,
  turns,
  type UpstreamPeer,
  until,
} from '../rig/index.ts';

// FAULTS section 4, as a table of phases and faults: docs/faults.md is made from the same rows.

const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const streamEnd = `${chunk('data: [DONE]\n\n')}0\r\n\r\n`;

const body = '{"model":"a","stream":true,"p":"x"}';
/** As far as a client gets that stops sending, with and without what routing needs. */
const headAnd = (part: string): string =>
  requestText('POST', '/v1/chat/completions', [`content-length: ${body.length}`], part);
const unroutable = body.slice(0, 4);
const routable = body.slice(0, -4);

/** Short enough to wait for; the one that a fault is about, all others are as they are by default. */
const timeoutsOf: Partial<Record<MatrixFault, string>> = {
  clientSendsNot: 'request_idle_ms: 150',
  stalls: 'connect_ms: 150, first_byte_ms: 150, stream_idle_ms: 150',
  deadline: 'total_ms: 200',
  // So that the old endpoint is seen not to be asked again.
  reload: 'connect_ms: 300',
};

const queueWaitMs = 150;
const drainMs = 50;

/** An exchange in a phase, and everybody it has to do with. */
interface Scene {
  readonly gateway: Rig;
  readonly client: RawClient;
  /** The connection of the endpoint it is at; null while there is none. */
  readonly peer: UpstreamPeer | null;
  /** Frees the one place that the exchange waits for. */
  readonly makeRoom: () => void;
}

function yamlOf(phase: MatrixPhase, fault: MatrixFault, hole: BlackHole | null): string {
  // The first endpoint is the one that fails, the second answers whatever comes to it.
  const isRefused = phase === 'connecting' && fault === 'refuses';
  const first = hole !== null && !isRefused ? hole.url : '$UPSTREAM0';
  const second = phase === 'receiving' || phase === 'queued' ? '' : ', { url: "$UPSTREAM1" }';
  const room =
    phase === 'queued' ? `inflight_max: 1, queue: { wait_ms: ${fault === 'stalls' ? queueWaitMs : 5000} },` : '';
  const connectMs = timeoutsOf[fault]?.includes('connect_ms') === true ? '' : 'connect_ms: 30s';
  const timeouts = [timeoutsOf[fault] ?? '', connectMs].filter((text) => text !== '').join(', ');
  return `timeouts: { ${timeouts} }
models: [{ name: a, targets: [{ pool: only }] }]
pools: [{ name: only, engine: none, picker: round_robin, ${room} endpoints: [{ url: "${first}" }${second}] }]`;
}

async function sceneOf(phase: MatrixPhase, fault: MatrixFault, hole: BlackHole | null): Promise<Scene> {
  const gateway = await rig({ yaml: yamlOf(phase, fault, hole), upstreamCount: 2 });
  gateway.upstreams[1]!.answerAll(answerText('second'));
  if (phase === 'connecting' && fault === 'refuses') await gateway.upstream.stopListening();
  let makeRoom = (): void => {};
  if (phase === 'queued') {
    // As if another shard had the one place there is.
    const [slot] = gateway.slots as [number];
    const { fleet } = gateway.shard.state.parts;
    expect(fleet.tryTakeInflight(slot, 1)).toBe(true);
    let isTaken = true;
    makeRoom = () => {
      if (isTaken) fleet.giveInflight(slot);
      isTaken = false;
    };
  }
  const client = await gateway.client();
  if (phase === 'receiving') client.send(headAnd(unroutable));
  else if (phase === 'answering') client.send(chatRequest('{"model":"nobody"}'));
  else client.send(fault === 'clientSendsNot' ? headAnd(routable) : chatRequest(body));
  let peer: UpstreamPeer | null = null;
  if (phase === 'answering') await turns(1);
  if (phase === 'waiting' || phase === 'streaming') {
    peer = await gateway.upstream.accept();
    if (fault === 'clientSendsNot') await peer.head();
    else await peer.request();
    if (phase === 'streaming') {
      peer.send(streamHead + chunk('data: {}\n\n'));
      await client.readUntil('data: {}\n\n');
    }
  } else if (phase !== 'answering' && !(phase === 'connecting' && fault === 'refuses')) await gateway.inPhase(phase);
  return { gateway, client, peer, makeRoom };
}

/** Another file takes over: the model goes to a pool of the second endpoint alone. */
async function reload({ gateway }: Scene): Promise<void> {
  const text = `listeners: [{ name: public, address: "127.0.0.1:0" }]
models: [{ name: a, targets: [{ pool: other }] }]
pools: [{ name: other, engine: none, picker: round_robin, endpoints: [{ url: "${gateway.upstreams[1]!.url}" }] }]`;
  const loaded = parseConfig(text, `${import.meta.dirname}/matrix.yaml`, {});
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const slot = gateway.fleet.claim();
  gateway.fleet.setWeight(slot, 1);
  gateway.fleet.setState(slot, EndpointState.healthy);
  await gateway.shard.apply({
    version: 2,
    config: loaded.config,
    endpointSlots: [[slot]],
    modelRows: modelRowsOf(loaded.config),
    prefixes: [null],
    queueRows: [1],
    texts: loaded.texts,
  });
}

/** What makes a phase that nothing is wrong with go on to its end. */
async function finish(phase: MatrixPhase, { gateway, client, peer, makeRoom }: Scene): Promise<void> {
  if (phase === 'receiving') client.send(body.slice(unroutable.length));
  makeRoom();
  if (phase === 'streaming') peer!.send(streamEnd);
  else if (phase === 'waiting') peer!.send(answerText('whole'));
  else if (phase === 'receiving' || phase === 'queued') {
    const next = await gateway.upstream.accept();
    await next.request();
    next.send(answerText('whole'));
  }
}

const strike: Record<MatrixFault, (scene: Scene, phase: MatrixPhase) => Promise<void> | void> = {
  clientFin: ({ client }) => client.destroy(),
  clientRst: ({ client }) => client.reset(),
  clientReadsNot: async ({ gateway, client, peer }) => {
    client.pause();
    const event = chunk(`data: "${'x'.repeat(60_000)}"\n\n`);
    for (let count = 0; count < 150; count++) peer!.send(event);
    await until(() => gateway.shard.state.open[0]?.responseRelay.isBlocked === true, 'the relay is blocked');
    const { bytesWritten } = peer!.socket;
    await turns(20);
    expect(peer!.socket.bytesWritten, 'the endpoint is paused').toBe(bytesWritten);
    peer!.send(streamEnd);
    client.resume();
  },
  clientSendsNot: () => {},
  refuses: ({ peer }) => peer?.send(answerText('{}', [], '503 Service Unavailable')),
  resets: ({ peer }) => peer!.reset(),
  closes: ({ peer }) => peer!.finish(),
  garbage: ({ peer }, phase) => peer!.send(phase === 'waiting' ? 'SSH-2.0-OpenSSH_9.2\r\n' : 'zz\r\n'),
  stalls: () => {},
  drain: ({ gateway }) => void gateway.shard.drain(drainMs),
  reload: async (scene, phase) => {
    await reload(scene);
    await finish(phase, scene);
  },
  deadline: () => {},
};

/** What the client got, in the words of the table. */
async function clientSaw(fault: MatrixFault, phase: MatrixPhase, client: RawClient): Promise<string> {
  if (fault === 'clientFin' || fault === 'clientRst') return 'gone';
  if (phase !== 'streaming') {
    const { status, text, isComplete } = await client.response();
    if (status !== 200) return `${status} ${(JSON.parse(text) as { error: { code: string } }).error.code}`;
    return isComplete ? 'whole' : 'cut';
  }
  // Its head was read with the first event.
  const text = (
    await (fault === 'reload' || fault === 'clientReadsNot' ? client.readUntil('0\r\n\r\n') : client.readToEnd())
  ).toString('latin1');
  if (text.endsWith('\r\n0\r\n\r\n') && text.includes('[DONE]')) return 'whole';
  return `cut ${/"code":"(\w+)"/.exec(text)?.[1] ?? ''}`.trim();
}

async function endpointSaw({ gateway, peer }: Scene, wanted: Outcome, before: number): Promise<string> {
  if (peer === null) {
    if (gateway.upstream.receivedBytes === before) return 'never asked';
    return wanted.endpoint === 'finished' ? 'finished' : 'asked';
  }
  // Once done, its connection is kept; or closed, where a reload has taken the endpoint away.
  if (wanted.endpoint !== 'closed') return 'finished';
  await until(() => peer.isEnded || peer.socket.destroyed, 'the endpoint is told');
  return 'closed';
}

for (const phase of matrixPhases) {
  for (const [fault, wanted] of Object.entries(matrix[phase]) as [MatrixFault, Outcome][]) {
    test(`fault-matrix: when ${matrixFaults[fault]} while an exchange is ${phase}, ${wanted.client} and ${wanted.reason}`, async () => {
      const hole = phase === 'connecting' ? await blackHole() : null;
      let leave = (): void => hole?.close();
      try {
        const scene = await sceneOf(phase, fault, hole);
        const { gateway, client, makeRoom } = scene;
        leave = () => {
          hole?.close();
          makeRoom();
        };
        const before = gateway.upstream.receivedBytes;
        await strike[fault](scene, phase);
        expect(await clientSaw(fault, phase, client)).toBe(wanted.client);
        const reason = await gateway.closeReason();
        expect(wanted.reason.split(' or ')).toContain(reason);
        expect(await endpointSaw(scene, wanted, before)).toBe(wanted.endpoint);
        expect(gateway.accessLog().at(-1)!.retries > 0).toBe(wanted.isRetried);
        expect(gateway.upstreams[1]!.peers.length > 0).toBe(wanted.isRetried);
      } finally {
        leave();
      }
    });
  }
}
