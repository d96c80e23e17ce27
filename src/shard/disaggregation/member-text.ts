import type { RequestBody } from '../../exchange/index.ts';
import type { SlabPool } from '../../shm/index.ts';

/** Of a value that is looked at by its beginning. */
const peekBytesMax = 32;
/** In front of a value; who writes more is served whole. */
const blankBytesMax = 4096;
const unreadable = '[?';
const space = 0x20;

/** The beginning of bytes [start, end) of a body, as text without white space around it; '' for -1. */
export function peekMember(body: RequestBody, slabs: SlabPool, start: number, end: number): string {
  if (start < 0) return '';
  let text = '';
  let slabStart = 0;
  for (let index = 0; index < body.slabCount && slabStart < end; index++) {
    const filled = body.filledBytes(index, slabs);
    const bytes = slabs.bytes(body.slab(index));
    const stop = Math.min(filled, end - slabStart);
    for (let at = Math.max(0, start - slabStart); at < stop; at++) {
      if (text === '' && slabStart + at - start > blankBytesMax) return unreadable;
      if (text !== '' || bytes[at]! > space) text += String.fromCharCode(bytes[at]!);
      if (text.length === peekBytesMax) return text.trimEnd();
    }
    slabStart += filled;
  }
  return text.trimEnd();
}

/** Bytes [start, end) of a body, all of which are held. */
export function memberBytes(body: RequestBody, slabs: SlabPool, start: number, end: number): Buffer {
  const pieces: Buffer[] = [];
  let slabStart = 0;
  for (let index = 0; index < body.slabCount && slabStart < end; index++) {
    const filled = body.filledBytes(index, slabs);
    const from = Math.max(0, start - slabStart);
    const stop = Math.min(filled, end - slabStart);
    if (from < stop) pieces.push(slabs.bytes(body.slab(index)).subarray(from, stop));
    slabStart += filled;
  }
  return Buffer.concat(pieces);
}
