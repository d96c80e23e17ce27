import { boundaryOf, findMultipartModel } from '../../../src/http/index.ts';
import { plainModel } from '../oracles/plain-multipart.ts';
import { cutsOf } from '../random.ts';
import { agree, bytesOf, everyByte, type FuzzTarget, hold } from '../target.ts';

const boundary = 'B';

function pieces(input: Buffer, cuts: readonly number[]): Buffer[] {
  let from = 0;
  return [...cuts, input.length].map((to) => {
    const piece = input.subarray(from, to);
    from = to;
    return piece;
  });
}

/** `input`: a form whose boundary is `B`; up to the first NUL, a content type. */
function run(input: Buffer): void {
  const nul = input.indexOf(0);
  const contentType = input.toString('latin1', 0, Math.max(0, nul));
  const found = boundaryOf(contentType);
  if (found !== null) {
    hold(/^[0-9A-Za-z'()+_,\-./:=? ]{1,70}$/.test(found) && !found.endsWith(' '), `boundary ${JSON.stringify(found)}`);
    hold(contentType.includes(found), 'a boundary that is not in the content type');
  }
  const form = input.subarray(nul + 1);
  const model = findMultipartModel([form], boundary);
  agree('the model', model, plainModel(form, boundary));
  agree('cut in pieces', findMultipartModel(pieces(form, cutsOf(form, 6)), boundary), model);
  if (form.length < 300)
    agree('byte by byte', findMultipartModel(pieces(form, everyByte(form.length)), boundary), model);
}

const type = 'multipart/form-data; boundary=B\x00';
const part = (head: string, value: string): string => `--B\r\n${head}\r\n\r\n${value}\r\n`;
const file = part(
  'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav',
  'RIFF\r\n--C\x00\xff',
);
const model = part('Content-Disposition: form-data; name="model"', 'whisper-1');
const seeds = [
  `${type}${file}${model}--B--\r\n`,
  `${type}preamble\r\n${model}${file}--B--\r\nepilogue`,
  `multipart/form-data; charset=utf-8; boundary="a b"\x00${model}${model}--B--`,
  `${type}${part('content-disposition:form-data;name=model\r\nContent-Transfer-Encoding: base64', 'x')}--B--`,
  `${type}${part("Content-Disposition: form-data; name*=utf-8''model", 'x')}--B--`,
  `${type}--B \t\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--B--`,
  `${type}--B\r\n\r\n\r\n--B--`,
];
const words = [
  '--B',
  '\r\n--B',
  '--B--',
  '--',
  '\r\n',
  '\r\n\r\n',
  'Content-Disposition: form-data; ',
  'name="model"',
  'name=model',
  'name="file"',
  '; filename="a"',
  "; filename*=UTF-8''a",
  'Content-Transfer-Encoding: 8bit',
  'Content-Type: text/plain',
  '"',
  '\\"',
  '\\',
  ';',
  '=',
  ':',
  ' ',
  '\t',
  '\x00',
  '\xff',
  '\xc3\xa9',
  '\n',
  '\r',
  'boundary=',
  'multipart/form-data',
  'model',
  'B',
];

export const multipartTarget: FuzzTarget = { name: 'multipart', seeds: seeds.map(bytesOf), dictionary: words, run };
