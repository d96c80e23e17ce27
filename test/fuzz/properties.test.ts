import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { boundaryOf, findMultipartModel, SseTap } from '../../src/http/index.ts';
import { editedBytes, modelEdit } from '../../src/relay/body-edit.ts';
import { check, checkAsync } from './check.ts';
import { readResponseWithNode } from './oracles/node-http.ts';
import { guarded, headRulesTarget } from './targets/head-rules.ts';
import { readResponse } from './targets/response-parser.ts';
import { scan, scannerTarget } from './targets/scanner.ts';

// Sound inputs, built from their grammar: here the oracles are readers this project has not written, and a refusal is a fault.

const wantedNames = [
  'model',
  'stream',
  'stream_options',
  'max_tokens',
  'n',
  'user',
  'prompt_cache_key',
  'messages',
  'metadata',
];
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 90 }),
  fc.constantFrom('"', '\\', '\\"', '{"model":"decoy"}', '\ud800', '😀'),
);
const anyValue = fc.jsonValue({ stringUnit: 'binary', maxDepth: 4 });
const document = fc.record(
  {
    model: anyText.filter((text) => Buffer.byteLength(JSON.stringify(text)) < 500),
    stream: fc.boolean(),
    stream_options: fc.option(fc.record({ include_usage: fc.boolean(), other: anyValue }, { requiredKeys: [] })),
    max_tokens: fc.option(fc.nat()),
    n: fc.nat(),
    user: fc.option(anyText),
    messages: fc.array(fc.record({ role: fc.constantFrom('user', 'system'), content: anyText, model: anyText }), {
      maxLength: 6,
    }),
    metadata: fc.dictionary(fc.oneof(fc.constantFrom(...wantedNames), anyText), anyValue, { maxKeys: 4 }),
  },
  { requiredKeys: ['model'] },
);
const indent = fc.constantFrom('', ' ', '\t', '\r\n');

test('property: when any sound request body is scanned, it is complete and says what JSON.parse says', () => {
  check(
    fc.property(document, indent, (value, space) => {
      const body = Buffer.from(JSON.stringify(value, null, space));
      scannerTarget.run(body);
      expect(scan(body, []).verdict).toBe('complete');
    }),
    400,
  );
});

// The scanner looks for quotes 64 bytes at a time: what it finds must not depend on where a block begins.
test('property: when a body is moved by up to 130 bytes, the same is found that much later', () => {
  check(
    fc.property(document, fc.nat({ max: 130 }), (value, moved) => {
      const text = JSON.stringify(value);
      const plain = scan(Buffer.from(text), []);
      const later = scan(Buffer.from(' '.repeat(moved) + text), []);
      expect(later).toEqual({ ...plain, modelStart: plain.modelStart + moved, modelEnd: plain.modelEnd + moved });
    }),
    300,
  );
});

test('property: when brackets are nested, 128 are complete and one more is not', () => {
  check(
    fc.property(fc.array(fc.boolean(), { minLength: 120, maxLength: 135 }), fc.nat({ max: 3 }), (kinds, cut) => {
      const opening = kinds.map((isList) => (isList ? '[' : '{"k":')).join('');
      const closing = kinds
        .toReversed()
        .map((isList) => (isList ? ']' : '}'))
        .join('');
      const text = `{"model":"m","x":${opening}1${closing}}`;
      const found = scan(Buffer.from(text), [cut * 90]);
      expect([found.verdict, found.problem]).toEqual(kinds.length <= 127 ? ['complete', ''] : ['invalid', 'depth']);
    }),
    100,
  );
});

test('property: when a model is renamed in any body, JSON.parse finds the new name and everything else as it was', () => {
  check(
    fc.property(document, indent, anyText, (value, space, name) => {
      const body = Buffer.from(JSON.stringify(value, null, space));
      const { modelStart, modelEnd } = scan(body, []);
      const splice = modelEdit(modelStart, modelEnd, name);
      const renamed = Buffer.concat([body.subarray(0, splice.start), splice.replacement, body.subarray(splice.end)]);
      expect(renamed.length).toBe(editedBytes(body.length, [splice]));
      const before = JSON.parse(body.toString()) as object;
      expect(JSON.parse(renamed.toString())).toEqual({ ...before, model: name });
    }),
    300,
  );
});

const fieldName = fc
  .stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/)
  .filter((name) => !/^(?:connection|content-length|transfer-encoding|upgrade|trailer|te|keep-alive)$/i.test(name));
const responseField = fc.tuple(
  fieldName,
  fc.stringMatching(/^[!-~\x80-\xff]([\t !-~\x80-\xff]{0,30}[!-~\x80-\xff])?$|^$/),
);
const response = fc.record({
  status: fc.integer({ min: 200, max: 599 }),
  reason: fc.stringMatching(/^[ -~]{0,20}$/),
  fields: fc.array(responseField, { maxLength: 30 }),
  interim: fc.array(fc.constantFrom(100, 102, 103), { maxLength: 3 }),
  framing: fc.constantFrom('length', 'chunked', 'close'),
  body: fc.array(
    fc.string({
      minLength: 1,
      maxLength: 200,
      unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
    }),
    { maxLength: 5 },
  ),
  isHead: fc.boolean(),
  cuts: fc.array(fc.nat(), { maxLength: 6 }),
});

test("property: when any sound response is read in any pieces, it is the one that Node's parser reads", () => {
  check(
    fc.property(response, ({ status, reason, fields, interim, framing, body, isHead, cuts }) => {
      const payload = isHead || status === 204 || status === 304 ? '' : body.join('');
      const lines = fields.map(([name, value]) => `${name}: ${value}`);
      if (framing === 'length') lines.push(`Content-Length: ${payload.length}`);
      if (framing === 'chunked') lines.push('Transfer-Encoding: chunked');
      const chunks = body.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');
      const sent =
        payload === '' && (isHead || status === 204 || status === 304)
          ? ''
          : framing === 'chunked'
            ? `${chunks}0\r\n\r\n`
            : payload;
      const heads = interim.map((each) => `HTTP/1.1 ${each} x\r\nlink: a\r\n\r\n`).join('');
      const wire = Buffer.from(
        `${heads}HTTP/1.1 ${status} ${reason}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n${sent}`,
        'latin1',
      );
      fc.pre(wire.length < 3000 && heads.length + lines.join('').length < 900);
      const ours = readResponse(
        wire,
        isHead,
        cuts.map((cut) => cut % (wire.length + 1)).sort((a, b) => a - b),
      );
      const node = readResponseWithNode(wire, isHead, true);
      expect(node.error).toBe('');
      expect([ours.isComplete, ours.status, ours.fields, ours.body, ours.interim]).toEqual([
        true,
        node.message!.status,
        node.message!.fields,
        node.message!.body,
        node.interim,
      ]);
      expect(ours.body).toBe(payload);
    }),
    400,
  );
});

const requestField = fc.tuple(
  fieldName.filter((name) => !/^(?:host|expect|authorization|content-type|content-encoding)$/i.test(name)),
  fc.stringMatching(/^[!-~]([\t !-~éü上]{0,30}[!-~])?$/),
);

test("property: when any sound head is written upstream, Node's parser reads what the guard accepted", () => {
  check(
    fc.property(
      fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'),
      fc.stringMatching(/^(\/[A-Za-z0-9_~!$&'()*+,=:@-]{0,8}){1,4}$/),
      fc.stringMatching(/^([a-z]{1,3}=[A-Za-z0-9%2F/?]{0,6})?$/).filter((query) => !/%(?![0-9A-F]{2})/.test(query)),
      fc.array(requestField, { maxLength: 20 }),
      (method, path, query, fields) => {
        const framing = method.startsWith('P') ? ['content-length: 7'] : [];
        const lines = ['host: a.test', ...framing, ...fields.map(([name, value]) => `${name}: ${value}`)];
        const input = Buffer.from([method, path, query === '' ? '' : `?${query}`, ...lines].join('\n'));
        headRulesTarget.run(input);
        expect(guarded(input).isAccepted).toBe(true);
      },
    ),
    300,
  );
});

const part = fc.record({
  name: fc.constantFrom('model', 'file', 'prompt', 'language', 'modell', 'größe'),
  filename: fc.constantFrom(null, null, null, 'a.wav', 'model', 'a;b.wav'),
  value: fc.oneof(
    fc.stringMatching(/^[a-z0-9./:-]{1,40}$/),
    fc.string({ maxLength: 60, unit: fc.constantFrom(...'ab -\r\n:;="é') }),
  ),
  type: fc.boolean(),
});

test('property: when a form has a model, it is the one that FormData of the platform has', async () => {
  let foundCount = 0;
  await checkAsync(
    fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 5 }), fc.nat({ max: 40 }), async (parts, pieceBytes) => {
      const boundary = boundaryOf('multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk')!;
      const text = parts
        .map(({ name, filename, value, type }) => {
          const disposition = `Content-Disposition: form-data; name="${name}"${filename === null ? '' : `; filename="${filename}"`}`;
          return `--${boundary}\r\n${disposition}\r\n${type ? 'Content-Type: text/plain\r\n' : ''}\r\n${value}\r\n`;
        })
        .join('');
      const form = Buffer.from(`${text}--${boundary}--\r\n`);
      const size = pieceBytes + 1;
      const pieces = Array.from({ length: Math.ceil(form.length / size) }, (_, index) =>
        form.subarray(index * size, (index + 1) * size),
      );
      const model = findMultipartModel(pieces, boundary);
      const data = await new Response(form, {
        headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      }).formData();
      const models = data.getAll('model');
      const only = models.length === 1 && typeof models[0] === 'string' ? models[0] : null;
      // What ends up as a metric label and in a log line: not empty, no line ends.
      expect(model).toBe(only === null || only === '' || /[\r\n]/.test(only) ? null : only);
      if (model !== null) foundCount++;
    }),
    200,
  );
  expect(foundCount).toBeGreaterThan(20);
});

test('property: when any stream passes the tap, it counts the events that a client dispatches', () => {
  const line = fc.oneof(
    fc.constantFrom(
      '',
      '',
      'data',
      'data:',
      'data: [DONE]',
      'data: {"a":1}',
      ':',
      ': ping',
      'event: error',
      'id: 1',
      'retry: 5',
      'foo: bar',
      'dataa: x',
    ),
    fc.stringMatching(/^[ -~]{0,20}$/),
  );
  check(
    fc.property(
      fc.array(line, { maxLength: 25 }),
      fc.constantFrom('\n', '\r\n'),
      fc.nat({ max: 9 }),
      (lines, lineEnd, size) => {
        const stream = Buffer.from([...lines, ''].map((each) => each + lineEnd).join(''));
        const dispatched: string[] = [];
        createParser({ onEvent: ({ data }) => dispatched.push(data) }).feed(stream.toString());
        const tap = new SseTap();
        for (let at = 0; at < stream.length; at += size + 1)
          tap.push(stream, at, Math.min(stream.length, at + size + 1));
        expect(tap.eventCount).toBe(dispatched.length);
        expect(tap.doneSeen).toBe(dispatched.some((data) => data.startsWith('[DONE]')));
        expect(tap.atEventBoundary).toBe(true);
      },
    ),
    400,
  );
});
