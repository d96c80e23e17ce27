import { expect, test } from 'vitest';
import { type ResponseRow, responseRows, Seen } from '../corpus/responses.ts';
import { answerText, type Response, requestText, rig, type Rig, turns } from '../rig/index.ts';

function fault(row: ResponseRow, response: Response): string | null {
  const { status, text, isComplete } = response;
  if (text.includes('poison')) return 'bytes behind the end of an answer came down';
  if (row.seen === Seen.refused) {
    const isOurs = status === 502 && isComplete && /"code":"upstream_(?:invalid|reset)"/.test(text);
    return isOurs ? null : `${status} ${JSON.stringify(text.slice(0, 60))}`;
  }
  if (row.seen === Seen.cut)
    return status === 502 || (status === 200 && !isComplete) ? null : `${status}, as if complete`;
  return isComplete && status < 400 && text === row.body ? null : `${status} ${JSON.stringify(text.slice(0, 60))}`;
}

/** One exchange that is answered with `pieces`; then a sound one on the same gateway, which must get its own answer. */
async function exchange(gateway: Rig, row: ResponseRow, pieces: readonly string[]): Promise<string | null> {
  const client = await gateway.client();
  client.send(requestText(row.method, '/a'));
  const peer = await gateway.upstream.accept();
  await peer.head();
  await peer.sendPieces(pieces);
  if (row.ends) peer.finish();
  const found = fault(row, await client.response(row.method === 'HEAD'));
  client.destroy();
  if (row.isKept) peer.destroy();
  else await peer.ended();
  const next = await gateway.client();
  next.send(requestText('GET', '/b'));
  const nextPeer = await gateway.upstream.accept();
  await nextPeer.head();
  nextPeer.send(answerText('own', ['connection: close']));
  const { text } = await next.response();
  next.destroy();
  return found ?? (text === 'own' ? null : `the next client got ${JSON.stringify(text)}`);
}

async function faultsOf(
  rows: readonly ResponseRow[],
  piecesOf: (row: ResponseRow) => readonly string[],
): Promise<string[]> {
  const gateway = await rig();
  const faults: string[] = [];
  for (const row of rows) {
    const found = await exchange(gateway, row, piecesOf(row)).catch(String);
    if (found !== null) faults.push(`${row.group}: ${row.what}: ${found}`);
    await turns(1);
  }
  return faults;
}

test('response corpus: when it is counted, it holds hundreds of answers, no two the same', () => {
  expect(responseRows.length).toBeGreaterThan(250);
  const keys = responseRows.map(({ method, pieces, ends }) => JSON.stringify([method, pieces, ends]));
  expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([]);
});

// RFC 9112 sections 2.2, 4 to 8; CONTRACT section 3; FAULTS F39, F40.
test('response corpus: when an answer is malformed, no client takes it for a sound one', async () => {
  expect(await faultsOf(responseRows, ({ pieces }) => pieces)).toEqual([]);
}, 60_000);

test('response corpus: when a malformed answer comes byte by byte, no client takes it for a sound one', async () => {
  const short = responseRows.filter(({ pieces }) => pieces.join('').length < 150);
  expect(short.length).toBeGreaterThan(150);
  expect(await faultsOf(short, ({ pieces }) => [...pieces.join('')])).toEqual([]);
}, 60_000);
