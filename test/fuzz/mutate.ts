import type { Random } from './random.ts';

/** Inputs longer than this teach nothing that shorter ones do not, and cost more. */
const inputBytesMax = 4096;

/** One to `changesMax` changes of the kinds libFuzzer makes: bits, bytes, numbers, words, pieces moved, repeated, taken from others. */
export function mutate(
  input: Buffer,
  others: readonly Buffer[],
  dictionary: readonly string[],
  random: Random,
  changesMax = 6,
): Buffer {
  let bytes: Buffer = Buffer.from(input);
  for (let count = 1 + random.below(changesMax); count > 0; count--)
    bytes = mutateOnce(bytes, others, dictionary, random);
  return bytes.subarray(0, inputBytesMax);
}

const interesting = [
  0x00, 0x01, 0x09, 0x0a, 0x0b, 0x0d, 0x20, 0x22, 0x2c, 0x30, 0x39, 0x3a, 0x3b, 0x5c, 0x7f, 0x80, 0xa0, 0xff,
];

function mutateOnce(bytes: Buffer, others: readonly Buffer[], dictionary: readonly string[], random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const length = Math.min(bytes.length - at, 1 + random.below(random.below(4) === 0 ? 64 : 6));
  switch (random.below(9)) {
    case 0:
      if (at < bytes.length) bytes[at]! ^= 1 << random.below(8);
      return bytes;
    case 1:
      if (at < bytes.length) bytes[at] = random.below(2) === 0 ? random.pick(interesting) : random.below(256);
      return bytes;
    case 2:
      return splice(bytes, at, length, '');
    case 3:
      return splice(bytes, at, 0, String.fromCharCode(random.pick(interesting)));
    case 4:
    case 5:
      return splice(bytes, at, random.below(2) === 0 ? 0 : length, random.pick(dictionary));
    case 6: {
      const piece = bytes.toString('latin1', at, at + length);
      return splice(
        bytes,
        random.below(bytes.length + 1),
        0,
        piece.repeat(1 + random.below(random.below(8) === 0 ? 40 : 3)),
      );
    }
    case 7: {
      const other = random.pick(others);
      const from = random.below(other.length + 1);
      return splice(bytes, at, length, other.toString('latin1', from, from + 1 + random.below(64)));
    }
    default:
      return Buffer.concat([bytes.subarray(0, at), random.pick(others).subarray(random.below(64))]);
  }
}

function splice(bytes: Buffer, at: number, removedCount: number, inserted: string): Buffer {
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(inserted, 'latin1'), bytes.subarray(at + removedCount)]);
}
