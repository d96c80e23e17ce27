import { expect, test } from 'vitest';
import { patternOf } from '../../src/sim/byte-answer.ts';
import { answerText, requestText, rig, turns } from '../rig/index.ts';

// Many large responses at once, and everybody else.

const size = 6_000_000;
const pattern = patternOf(size);
const clientCount = 16;
/** Each socket that is ready is read once; what a turn may read comes on top, and a turn may have begun before we look. */
const readInTurnMax = clientCount * 64 * 1024 + 2 * 512 * 1024;

test('fair turns: when many large responses come at once, a turn reads a little of them, others are answered meanwhile, and every byte arrives', async () => {
  const gateway = await rig();
  const clients = await Promise.all(Array.from({ length: clientCount }, () => gateway.client()));
  const responses: Promise<void>[] = [];
  let doneCount = 0;
  for (const client of clients) {
    client.send(requestText('GET', '/large'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    peer.send(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`);
    peer.send(pattern);
    responses.push(
      client.response().then(({ isComplete, bytes }) => {
        expect(isComplete && bytes.equals(pattern)).toBe(true);
        doneCount++;
      }),
    );
  }
  const all = Promise.all(responses);
  const seen = new Map<string, number>();
  let readMost = 0;
  const look = (): void => {
    let read = 0;
    for (const { request_id: id, response_bytes: bytes } of gateway.shard.exchanges()) {
      read += bytes - (seen.get(id) ?? 0);
      seen.set(id, bytes);
    }
    readMost = Math.max(readMost, read);
  };
  look();
  const other = await gateway.client();
  other.send(requestText('GET', '/small'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send(answerText('small'));
  expect((await other.response()).text).toBe('small');
  expect(doneCount).toBeLessThan(clientCount);
  readMost = 0;
  while (doneCount < clientCount) {
    await turns(1);
    look();
  }
  await all;
  expect(readMost).toBeGreaterThan(0);
  expect(readMost).toBeLessThan(readInTurnMax);
});
