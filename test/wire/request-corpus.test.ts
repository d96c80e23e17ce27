import { expect, test, vi } from 'vitest';
import { bodyRows } from '../corpus/request-bodies.ts';
import { requestRows } from '../corpus/requests.ts';
import { type RequestRow, Verdict } from '../corpus/row.ts';
import {
  answerText,
  chatRequest,
  chunkedText,
  type RawClient,
  requestText,
  type Rig,
  rig,
  turns,
  until,
} from '../rig/index.ts';

/** Bodies that stop coming are given up soon, so that no row has to wait longer than for the library's own timer. */
const yaml = `
limits: { body_bytes_max: 1048576 }
timeouts: { request_idle_ms: 1500 }
pools:
  - { name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM" }] }
`;

/** The library closes a silent connection 8 to 12 s after its last byte; the rest is for a busy machine. */
const endBoundMs = 15_000;

const smuggled = requestText('GET', '/smuggled');

/** Rows of each group that are also cut at every byte: short ones, or the number of connections would be large. */
const cutRows: readonly RequestRow[] = requestRows.filter(
  ({ wire }, index) => wire.length < 140 && (index % 5 === 0 || wire.includes('\x00')),
);

interface Corpus {
  readonly gateway: Rig;
  /** What went up since the last look: the requests that were complete, and the bytes of all. */
  readonly take: () => Promise<Upstreamed>;
}

interface Upstreamed {
  readonly requests: readonly string[];
  readonly bytes: number;
}

async function corpus(): Promise<Corpus> {
  const gateway = await rig({ yaml });
  const requests: string[] = [];
  /** Bytes that are accounted for: what was looked at before, and our own marks. */
  let seenBytes = 0;
  gateway.upstream.answerAll(({ head }) => {
    if (head.startLine === 'GET /mark HTTP/1.1') seenBytes += head.raw.length;
    else requests.push(head.startLine);
    // Every request comes on a connection of its own, so they are accepted in order.
    return answerText('reached', ['connection: close']);
  });
  const marker = await gateway.client();
  return {
    gateway,
    take: async () => {
      // Connections are accepted in order, one a turn: behind the first mark all earlier ones are here, behind the second
      // what was written on them has been read.
      await marker.ask(requestText('GET', '/mark'));
      await marker.ask(requestText('GET', '/mark'));
      const bytes = gateway.upstream.receivedBytes - seenBytes;
      seenBytes += bytes;
      return { requests: requests.splice(0), bytes };
    },
  };
}

/** Why what went up is not what the row allows; null when it is. */
function fault(row: RequestRow, { requests, bytes }: Upstreamed): string | null {
  if (row.verdict === Verdict.nothing) return bytes === 0 ? null : `${bytes} bytes went up`;
  if (requests.length > 1) return `${requests.length} requests went up`;
  if (requests.length === 1) return requests[0] === row.prefix ? null : `${requests[0]} went up`;
  return bytes === 0 || row.verdict === Verdict.reframed ? null : `${bytes} bytes of an incomplete request went up`;
}

function named(row: RequestRow, detail: string): string {
  return `${row.group}: ${row.what}: ${detail}`;
}

async function settle(gateway: Rig, clients: readonly RawClient[]): Promise<void> {
  for (const client of clients) client.destroy();
  await until(() => gateway.phases().length === 0, 'the exchanges are over');
}

test('corpus: when it is counted, it holds hundreds of requests, no two the same', () => {
  expect(requestRows.length).toBeGreaterThan(600);
  const byWire = new Map<string, string>();
  const twice: string[] = [];
  for (const row of requestRows) {
    const earlier = byWire.get(row.wire);
    if (earlier !== undefined) twice.push(`${earlier} = ${named(row, '')}`);
    byWire.set(row.wire, named(row, ''));
  }
  expect(twice).toEqual([]);
});

/** Thousands of connections a test: a second on an idle machine. */
vi.setConfig({ testTimeout: 60_000 });

// RFC 9112 section 11; FAULTS F09. What goes up is nothing, or exactly the sound request in front.
test.each([
  ['alone', ''],
  ['with a request behind it', smuggled],
])('corpus: when a malformed request comes %s, none of it goes up', async (_, behind) => {
  const { gateway, take } = await corpus();
  const faults: string[] = [];
  for (const row of requestRows) {
    const client = await gateway.client();
    client.send(row.wire + behind);
    await turns(8);
    await settle(gateway, [client]);
    const found = fault(row, await take());
    if (found !== null) faults.push(named(row, found));
  }
  expect(faults).toEqual([]);
});

test('corpus: when a malformed request is cut at any byte, none of it goes up', async () => {
  const { gateway, take } = await corpus();
  const faults: string[] = [];
  expect(cutRows.length).toBeGreaterThan(60);
  for (const row of cutRows) {
    for (let from = 1; from < row.wire.length; from += 32) {
      const cuts = Array.from({ length: Math.min(32, row.wire.length - from) }, (_, index) => from + index);
      const clients = await Promise.all(cuts.map(() => gateway.client()));
      clients.forEach((client, index) => client.send(row.wire.slice(0, cuts[index])));
      await turns(3);
      clients.forEach((client, index) => client.send(row.wire.slice(cuts[index])));
      await turns(6);
      await settle(gateway, clients);
      const { requests, bytes } = await take();
      if (row.verdict === Verdict.nothing ? bytes > 0 : requests.some((request) => request !== row.prefix))
        faults.push(named(row, `cut from ${from} on: ${bytes} bytes, ${requests.join()}`));
    }
  }
  expect(faults).toEqual([]);
});

// One client's answers: none, or one refusal. Never a second answer, never a 2xx to what must not go up.
function answerFault(row: RequestRow, text: string): string | null {
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d\d\d)/g)].map(([, status]) => Number(status));
  // The library says 100 before the gateway has looked at the rest.
  const finals = statuses.filter((status) => status !== 100);
  if (finals.length > (row.verdict === Verdict.prefix ? 2 : 1)) return `answered ${finals.join()}`;
  if (row.verdict === Verdict.nothing && finals.some((status) => status < 400)) return `answered ${finals.join()}`;
  if (row.verdict === Verdict.prefix && finals.length === 2 && finals[1]! < 400) return `answered ${finals.join()}`;
  return null;
}

// FAULTS section 0, finding 6: the library is silent to some, but not for longer than its timer. All wait for it together.
test('corpus: when malformed requests come whole and byte by byte, every connection is over within the bound', async () => {
  const { gateway } = await corpus();
  const rows = [...requestRows, ...cutRows];
  const clients: RawClient[] = [];
  for (const row of rows) {
    const client = await gateway.client();
    clients.push(client);
    if (clients.length <= requestRows.length) client.send(row.wire);
  }
  const dripped = clients.slice(requestRows.length);
  const longest = Math.max(...cutRows.map(({ wire }) => wire.length));
  for (let at = 0; at < longest; at++) {
    cutRows.forEach(({ wire }, index) => at < wire.length && dripped[index]!.send(wire[at]!));
    await turns(1);
  }
  const sentMs = performance.now();
  const faults: string[] = [];
  await Promise.all(
    clients.map(async (client, index) => {
      const row = rows[index]!;
      const answer = await client.readToEnd();
      const found = answerFault(row, answer.toString('latin1'));
      if (found !== null) faults.push(named(row, found));
      const tookMs = client.endedMs - sentMs;
      if (tookMs > endBoundMs) faults.push(named(row, `open for ${Math.round(tookMs)} ms`));
      client.destroy();
    }),
  );
  expect(faults).toEqual([]);
});

const chunkedBody = '5\r\n{"mod\r\n00C\r\nel":"a","n":\r\n0000000000000002\r\n1}\r\n0\r\n\r\n';
const soundRequests: readonly (readonly [what: string, wire: string, body: string])[] = [
  ['counted', chatRequest('{"model":"a"}'), '{"model":"a"}'],
  [
    'chunked',
    requestText('POST', '/v1/chat/completions', ['transfer-encoding: chunked']) + chunkedBody,
    '{"model":"a","n":1}',
  ],
  ['without a body', requestText('GET', '/health', ['x-a: b', 'x-b:']), ''],
  ['empty', requestText('POST', '/v1/chat/completions', ['content-length: 0']), ''],
];

// What the decoding of a cut request gives is the request, or the 505 of docs/acceptor.md; never another body.
test.each(soundRequests)(
  'corpus: when a sound request (%s) is cut at any byte, it goes up as it is',
  async (_, wire, body) => {
    const gateway = await rig({ yaml });
    const bodies: string[] = [];
    gateway.upstream.answerAll(({ text }) => {
      bodies.push(text);
      return answerText('reached');
    });
    let refusedCount = 0;
    for (let cut = 1; cut < wire.length; cut++) {
      const client = await gateway.client();
      await client.sendPieces([wire.slice(0, cut), wire.slice(cut)]);
      const { status } = await client.response();
      if (status === 505) refusedCount++;
      else expect([status, bodies.pop()], `cut at ${cut}`).toEqual([200, body]);
      client.destroy();
    }
    expect(refusedCount, 'only a first segment that ends inside the request line is refused').toBeLessThan(
      wire.indexOf('\r') + 1,
    );
    expect(bodies).toEqual([]);
  },
);

const strictYaml = `
models: [{ name: a, targets: [{ pool: only }] }, { name: b, targets: [{ pool: only }] }]
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }]
`;

// FAULTS S6, S7; CONTRACT section 3: 400 body_invalid. An upload may have begun by then, but it is never complete.
test.each(['counted', 'chunked'])(
  'corpus: when a body (%s) cannot be read in one way only, it is refused',
  async (framing) => {
    const gateway = await rig({ yaml: strictYaml });
    let completeCount = 0;
    gateway.upstream.answerAll(() => {
      completeCount++;
      return answerText('reached');
    });
    const faults: string[] = [];
    for (const [what, body] of Object.entries(bodyRows)) {
      const client = await gateway.client();
      const isCounted = framing === 'counted';
      const head = requestText('POST', '/v1/chat/completions', [
        isCounted ? `content-length: ${body.length}` : 'transfer-encoding: chunked',
      ]);
      const middle = Math.ceil(body.length / 2);
      const pieces = isCounted ? [body.slice(0, middle), body.slice(middle)] : [chunkedText(body, 65_000)];
      await client.sendPieces([head + pieces[0]!, ...pieces.slice(1)]);
      const response = await client.response();
      const isRefused = response.status === 400 && response.text.includes('"code":"body_invalid"');
      if (!isRefused) faults.push(`${what}: ${response.status} ${response.text}`);
      client.destroy();
    }
    expect(faults).toEqual([]);
    expect(completeCount, 'complete requests that went up').toBe(0);
  },
);
