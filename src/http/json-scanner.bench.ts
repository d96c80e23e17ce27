// Cost of finding the routing fields of request bodies, against JSON.parse.
import { bench, do_not_optimize, run, summary } from 'mitata';
import { RequestScanner, ScanState } from './json-scanner.ts';
import { PromptParts } from './prompt-parts.ts';

const scanner = new RequestScanner();
const pieceBytes = 65_536;

const parts = new PromptParts();

/** With `prompt`, as for a pool that picks by what KV caches hold. */
function scan(body: Buffer, prompt: PromptParts | null = null): ScanState {
  prompt?.reset();
  scanner.reset(prompt);
  for (let at = 0; at < body.length; at += pieceBytes) scanner.push(body, at, Math.min(body.length, at + pieceBytes));
  return scanner.finish();
}

const words = 'pump valve tide gauge strainer suction harbour crane winch bearing ';
const hanzi = '水泵阀门潮汐压力表港口起重机轴承';
const shapes: Readonly<Record<string, unknown>> = {
  'chat of 3 KB': {
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: words.repeat(40) },
    ],
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0.7,
    model: 'm',
  },
  '20,000 messages': {
    messages: Array.from({ length: 20_000 }, () => ({ role: 'user', content: words.repeat(2).slice(0, 120) })),
    model: 'm',
  },
  'one image': {
    messages: [
      {
        role: 'user',
        content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${'iVBORw0KGgo'.repeat(272_000)}` } }],
      },
    ],
    model: 'm',
  },
  'one text with escapes': {
    messages: [{ role: 'user', content: `${words}\n"quoted" é\\\n`.repeat(34_000) }],
    model: 'm',
  },
  // Three bytes a character, and what many clients make of them: six bytes of escape a character.
  'one text in Chinese': { messages: [{ role: 'user', content: hanzi.repeat(62_500) }], model: 'm' },
  'one text in Chinese, escaped': { messages: [{ role: 'user', content: hanzi.repeat(31_250) }], model: 'm' },
  'tools and numbers': {
    tools: Array.from({ length: 10_000 }, (_, index) => ({
      type: 'function',
      function: {
        name: `tool_${index}`,
        parameters: { type: 'object', properties: { a: { minimum: -1.5e3, maximum: index } } },
      },
      strict: true,
      weights: [0.1, 2, -3, null, false],
    })),
    messages: [{ role: 'user', content: words }],
    model: 'm',
  },
};

const nonAscii = /[\u0080-\uffff]/g;
const escapeOf = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

for (const [name, shape] of Object.entries(shapes)) {
  const json = JSON.stringify(shape);
  const body = Buffer.from(name.endsWith('escaped') ? json.replace(nonAscii, escapeOf) : json);
  if (scan(body) !== ScanState.complete || scanner.model !== 'm') throw new Error(`${name}: ${scanner.problem}`);
  summary(() => {
    bench(`scan: ${name}, ${body.length} bytes`, () => do_not_optimize(scan(body)));
    bench(`scan and hash of the prompt: ${name}, ${body.length} bytes`, () => do_not_optimize(scan(body, parts)));
    bench(`JSON.parse: ${name}, ${body.length} bytes`, () => do_not_optimize(JSON.parse(body.toString())));
  });
}

await run();
