// Cost of finding the routing fields of request bodies, against JSON.parse.
import { bench, do_not_optimize, run, summary } from 'mitata';
import { RequestScanner, ScanState } from './json-scanner.ts';

const scanner = new RequestScanner();
const pieceBytes = 65_536;

function scan(body: Buffer): ScanState {
  scanner.reset();
  for (let at = 0; at < body.length; at += pieceBytes) scanner.push(body, at, Math.min(body.length, at + pieceBytes));
  return scanner.finish();
}

const words = 'pump valve tide gauge strainer suction harbour crane winch bearing ';
const shapes: Readonly<Record<string, unknown>> = {
  'chat, 3 KB': {
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: words.repeat(40) },
    ],
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0.7,
    model: 'm',
  },
  '20,000 messages, 3 MB': {
    messages: Array.from({ length: 20_000 }, () => ({ role: 'user', content: words.repeat(2).slice(0, 120) })),
    model: 'm',
  },
  'one image, 3 MB': { messages: [{ role: 'user', content: 'A'.repeat(3_000_000) }], model: 'm' },
  'one text with escapes, 3 MB': {
    messages: [{ role: 'user', content: `${words}\n"quoted" é\\\n`.repeat(34_000) }],
    model: 'm',
  },
};

for (const [name, shape] of Object.entries(shapes)) {
  const body = Buffer.from(JSON.stringify(shape));
  if (scan(body) !== ScanState.complete || scanner.model !== 'm') throw new Error(`${name}: ${scanner.problem}`);
  summary(() => {
    bench(`scan: ${name}`, () => do_not_optimize(scan(body)));
    bench(`JSON.parse: ${name}`, () => do_not_optimize(JSON.parse(body.toString())));
  });
}

await run();
