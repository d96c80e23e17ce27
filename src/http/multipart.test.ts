import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { boundaryOf, findMultipartModel } from './multipart.ts';

interface PartNote {
  readonly name: string;
  readonly filename?: string;
  readonly contentType?: string;
  readonly bytes?: number;
  readonly value?: string;
}
interface FormNote {
  readonly name: string;
  readonly boundary: string;
  readonly parts: readonly PartNote[];
}
const notes = JSON.parse(
  readFileSync(new URL('../../test/fixtures/openai/multipart.json', import.meta.url), 'utf8'),
) as { readonly cases: readonly FormNote[] };

const model = 'Content-Disposition: form-data; name="model"\r\n\r\nwhisper-1';

function form(...parts: readonly string[]): Buffer {
  return Buffer.from(`--B\r\n${parts.join('\r\n--B\r\n')}\r\n--B--\r\n`);
}

function cutInto(body: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < body.length; at += size) pieces.push(body.subarray(at, at + size));
  return pieces;
}

/** File bytes that repeat the beginnings of a delimiter; at most 1 MB, which already takes many pieces. */
function fileBytes(byteCount: number, boundary: string): Buffer {
  return Buffer.alloc(Math.min(byteCount, 1_000_000), `\r\n--${boundary.slice(0, -1)}\r\n-\r\r\n--`);
}

test.each(notes.cases)(
  'multipart: when the form is $name, its model is found in pieces of any size',
  ({ boundary, parts }) => {
    const chunks: Buffer[] = [];
    for (const part of parts) {
      const file =
        part.filename === undefined ? '' : `; filename="${part.filename}"\r\nContent-Type: ${part.contentType}`;
      chunks.push(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${part.name}"${file}\r\n\r\n`));
      chunks.push(part.bytes === undefined ? Buffer.from(part.value ?? '') : fileBytes(part.bytes, boundary));
      chunks.push(Buffer.from('\r\n'));
    }
    chunks.push(Buffer.from(`--${boundary}--\r\n`));
    const body = Buffer.concat(chunks);
    const expected = parts.find((part) => part.name === 'model')?.value ?? null;
    for (const size of [8191, 65_536, body.length]) {
      expect(findMultipartModel(cutInto(body, size), boundary), `pieces of ${size}`).toBe(expected);
    }
  },
);

const file = 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF';

test.each([
  ['behind a file', form(file, model), 'whisper-1'],
  ['before a file', form(model, file), 'whisper-1'],
  ['alone', form(model), 'whisper-1'],
  ['behind a preamble', Buffer.from(`ignored\r\n--B \t\r\n${model}\r\n--B--`), 'whisper-1'],
  [
    'not quoted, fields in any case and order',
    form(model.replace('"model"', 'model').replace('Content-D', 'X-A: b\r\ncontent-d')),
    'whisper-1',
  ],
  ['with more parameters', form(model.replace('name="model"', 'a="x; name=y\\" " ; NAME="model"')), 'whisper-1'],
  ['not ASCII', form(model.replace('whisper-1', 'größe/完了')), 'größe/完了'],
  ['absent', form(file), null],
  ['named only inside a file name', form(file.replace('a.wav', 'x\\"; name=\\"model')), null],
  ['a name that only contains it', form(model.replace('"model"', '"model[]"')), null],
  ['given twice', form(model, model), null],
  ['a file', form(model.replace('"model"', '"model"; filename="m"')), null],
  ['encoded', form(model.replace('\r\n\r\n', '\r\nContent-Transfer-Encoding: base64\r\n\r\n')), null],
  ['named in the extended form', form(model.replace('name="model"', "name*=utf-8''model")), null],
  ['named twice', form(model.replace('name="model"', 'name="a"; name="model"')), null],
  ['an escaped name', form(model.replace('"model"', '"mod\\el"')), null],
  ['empty', form(model.replace('whisper-1', '')), null],
  ['too long', form(model.replace('whisper-1', 'm'.repeat(513))), null],
  ['two lines', form(model.replace('whisper-1', 'a\r\nb')), null],
  ['not UTF-8', Buffer.from(form(model).toString('latin1').replace('whisper-1', 'a\xffb'), 'latin1'), null],
  ['in a form that does not end', form(model).subarray(0, -6), null],
  ['in a form without closing dashes', Buffer.from(form(model).toString().replace('--B--', '--B')), null],
  [
    'behind a boundary with more behind it',
    Buffer.from(form(file, model).toString().replace('RIFF\r\n--B', 'RIFF\r\n--Bx')),
    null,
  ],
  ['in a part without an empty line', form('Content-Disposition: form-data; name="model"\r\nwhisper-1'), null],
  ['in a part with a folded field', form(model.replace('; name', ';\r\n name')), null],
  ['in a part with a nameless field', form(`: x\r\n${model}`), null],
  ['behind an oversized part head', form(`X: ${'a'.repeat(9000)}\r\n${model}`), null],
  ['behind more parts than allowed', form(...Array.from({ length: 256 }, () => file), model), null],
])('multipart: when the model is %s, every cut gives the same answer', (_, body, expected) => {
  for (const size of body.length > 1000 ? [97, body.length] : [1, 2, 3, 5, 8, 64, body.length]) {
    expect(findMultipartModel(cutInto(body, size), 'B'), `pieces of ${size}`).toBe(expected);
  }
});

test('multipart: when the body is empty, there is no model', () => {
  expect(findMultipartModel([], 'B')).toBeNull();
  expect(findMultipartModel([Buffer.alloc(0)], 'B')).toBeNull();
});

// RFC 2046 section 5.1.1.
test.each([
  ['multipart/form-data; boundary=abc', 'abc'],
  ['Multipart/Form-Data;BOUNDARY="a b:c"', 'a b:c'],
  ['multipart/form-data; charset=utf-8 ; boundary=----WebKitFormBoundary7MA4YWxk;', '----WebKitFormBoundary7MA4YWxk'],
  [`multipart/form-data; boundary=${'b'.repeat(70)}`, 'b'.repeat(70)],
  [`multipart/form-data; boundary=${'b'.repeat(71)}`, null],
  ['multipart/form-data', null],
  ['multipart/form-data; boundary=', null],
  ['multipart/form-data; boundary=""', null],
  ['multipart/form-data; boundary="a "', null],
  ['multipart/form-data; boundary=a; boundary=b', null],
  ['multipart/form-data; boundary=a b', null],
  ['multipart/form-data; boundary="a\\"b"', null],
  ['multipart/form-data; boundary="ab', null],
  ['multipart/form-data; boundary=a\u00e9', null],
  ['multipart/mixed; boundary=a', null],
  ['application/json', null],
  ['', null],
])('multipart: when the content type is %j, the boundary is %j', (contentType, boundary) => {
  expect(boundaryOf(contentType)).toBe(boundary);
});

// Found by fuzzing. RFC 2046 section 5.1.1 gives the line end to the delimiter; readers that look for it in the head, or behind
// it only, see other parts.
test.each([
  ['as its value', '--B\r\nContent-Disposition: form-data; name="model"\r\n\r\n--B\r\n--B--'],
  ['in its head', '--B\r\nContent-Disposition: form-data; name="a"\r\n--B: x\r\n\r\n\r\n--B\r\n' + model + '\r\n--B--'],
])('multipart: when a part has a delimiter %s, the form has no model', (_, text) => {
  expect(findMultipartModel([Buffer.from(text)], 'B')).toBeNull();
});
