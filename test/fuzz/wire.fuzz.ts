import { expect, test } from 'vitest';
import { requestRows } from '../corpus/requests.ts';
import { Verdict } from '../corpus/row.ts';
import {
  answerText,
  type Body,
  chatRequest,
  chunkedText,
  RawClient,
  requestText,
  rig,
  turns,
  until,
} from '../rig/index.ts';
import { mutate } from './mutate.ts';
import { requestsIn } from './oracles/plain-requests.ts';
import { Random } from './random.ts';
import { headRulesTarget } from './targets/head-rules.ts';
import { bytesOf } from './target.ts';

const count = Number(process.env['FUZZ_COUNT'] ?? 20_000);
const seed = Number(process.env['FUZZ_SEED'] ?? 1);

/** Connections open at a time. */
const batchCount = 48;

/** The corpus has bodies that are larger. */
const yaml = `
limits: { body_bytes_max: 1048576 }
pools:
  - { name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM" }] }
`;

const chat = ['POST', '/v1/chat/completions'] as const;
const sound = [
  requestText('GET', '/health', ['accept: */*', 'x-a: b']),
  requestText('DELETE', '/v1/files/a?b=c'),
  chatRequest('{"model":"a"}'),
  chatRequest('{"model":"a"}', ['connection: close', 'expect: 100-continue']),
  requestText(...chat, ['transfer-encoding: chunked']) + chunkedText('{"model":"a","stream":true}', 7),
  requestText('GET', '/a') + requestText('GET', '/b'),
];

// FAULTS F10: no crash, and no upstream request that is not one of the client's, whatever bytes come.
test(`fuzz wire: when ${count} mutated requests come (seed ${seed}), only requests that are in them go up`, async () => {
  const random = new Random(seed);
  const corpus = [...requestRows.map(({ wire }) => wire).filter((wire) => wire.length < 1000), ...sound].map(bytesOf);
  const soundBytes = sound.map(bytesOf);
  const words = [
    ...headRulesTarget.dictionary,
    '\r\n\r\n',
    'GET /b HTTP/1.1\r\n',
    'HTTP/1.1',
    '0\r\n\r\n',
    'content-length: 2\r\n',
    ': x\r\n',
  ];
  const gateway = await rig({ yaml });
  let batch: string[] = [];
  let forwardedCount = 0;
  const faults: string[] = [];
  const isIn = (bytes: string, startLine: string, body: Body, text: string): boolean =>
    requestsIn(bytes).some((request) => {
      if (request.startLine !== startLine) return false;
      if (request.body === null) return true;
      return body.isComplete ? request.isComplete && request.body === text : request.body.startsWith(text);
    });
  gateway.upstream.onPeer = async (peer) => {
    const { head, body, text } = await peer.request();
    const isMark = head.startLine === 'GET /mark HTTP/1.1';
    if (!isMark) forwardedCount++;
    if (!isMark && !batch.some((bytes) => isIn(bytes, head.startLine, body, text))) {
      const near = batch.filter((bytes) => bytes.includes(head.startLine));
      faults.push(`${JSON.stringify(head.raw + text)} out of ${JSON.stringify(near.length > 0 ? near : batch)}`);
    }
    peer.send(answerText('reached', ['connection: close']));
  };
  const marker = await gateway.client();
  for (let sentCount = 0; sentCount < count && faults.length === 0; sentCount += batchCount) {
    batch = Array.from({ length: batchCount }, () =>
      mutate(random.pick(random.below(2) === 0 ? soundBytes : corpus), corpus, words, random, 2).toString('latin1'),
    );
    const clients = await Promise.all(batch.map(() => RawClient.connect(gateway.port)));
    const cuts = batch.map((bytes) => random.below(bytes.length * 2));
    clients.forEach((client, index) => client.send(batch[index]!.slice(0, cuts[index])));
    await turns(3);
    clients.forEach((client, index) => client.send(batch[index]!.slice(cuts[index])));
    await turns(5);
    for (const client of clients) client.destroy();
    await until(() => gateway.phases().length <= 0, 'the exchanges are over');
    // Connections are accepted in order: behind the marks all of this batch was read.
    for (let mark = 0; mark < 2; mark++) await marker.ask(requestText('GET', '/mark'));
    gateway.upstream.peers.length = 0;
  }
  expect(faults).toEqual([]);
  expect(forwardedCount, 'requests that went up').toBeGreaterThan(count / 100);
  process.stdout.write(`wire: ${count} mutated requests, ${forwardedCount} went up, seed ${seed}\n`);
});

// FAULTS F09: the whole corpus 20 times over, in any order, 16 at a time; what it costs in memory does not add up.
test(`fuzz wire: when the corpus is replayed 20 times (seed ${seed}), nothing unsafe goes up and memory stays`, async () => {
  const random = new Random(seed);
  const rows = requestRows.filter(({ verdict }) => verdict === Verdict.nothing);
  const gateway = await rig({ yaml });
  let rssBytes = 0;
  for (let round = 0; round < 20; round++) {
    const shuffled = rows.map((row) => ({ row, rank: random.below(2 ** 30) })).sort((a, b) => a.rank - b.rank);
    for (let from = 0; from < shuffled.length; from += 16) {
      const clients = await Promise.all(
        shuffled.slice(from, from + 16).map(async ({ row }) => {
          const client = await RawClient.connect(gateway.port);
          client.send(row.wire);
          return client;
        }),
      );
      await turns(4);
      for (const client of clients) client.destroy();
    }
    await until(() => gateway.phases().length === 0, 'the exchanges are over');
    if (round === 9) rssBytes = process.memoryUsage.rss();
  }
  expect(gateway.upstream.receivedBytes, 'bytes sent upstream').toBe(0);
  expect(process.memoryUsage.rss() - rssBytes, 'growth over 10 rounds').toBeLessThan(64 << 20);
});
