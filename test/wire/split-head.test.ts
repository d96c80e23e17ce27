import { expect, test } from 'vitest';
import { answerText, rig, turns } from '../rig/index.ts';

const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: 2\r\n\r\n';
/** A first segment that ends here, and the library takes what it has for the whole version. */
const versionStart = head.indexOf(' HTTP') + 1;
const refusedCuts = new Set([
  'POST '.length,
  ...Array.from({ length: 'HTTP/1.1\r\n'.length }, (_, index) => versionStart + index),
]);

// docs/acceptor.md: a limit of the library, which the gateway cannot see. RFC 9112 section 2.1 would have it wait.
test('split-head: when a head comes in two segments, it is served wherever it was cut, but for its version', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(answerText('ok'));
  const statuses: Record<string, number[]> = {};
  for (let cut = 1; cut < head.length; cut++) {
    const client = await gateway.client();
    client.send(head.slice(0, cut));
    await turns(4);
    client.send(`${head.slice(cut)}{}`);
    const status = (await client.readUntil('\r\n')).toString('latin1').slice(9, 12);
    (statuses[status] ??= []).push(cut);
    client.destroy();
  }
  expect(statuses['505']).toEqual([...refusedCuts].sort((a, b) => a - b));
  expect(statuses['200']!.length).toBe(head.length - 1 - refusedCuts.size);
  expect(gateway.upstream.receivedBytes).toBeGreaterThan(0);
});
