import { decodeAscii, hasBackslash } from './json-string.ts';
import { keyBytesMax } from './request-fields.ts';

/** The name of a member as parsers read it, without escapes: bytes [start, end) of `bytes`. */
export interface MemberKey {
  bytes: Buffer;
  start: number;
  end: number;
}

/** Of the member that begins; used up before the next is read. */
export const memberKey: MemberKey = { bytes: Buffer.alloc(0), start: 0, end: 0 };

const decoded: Buffer = Buffer.allocUnsafeSlow(keyBytesMax);

/** Bytes [start, end) of `bytes` are a key as sent. A key too long to be wanted stays as it is. False: not a valid string. */
export function readMemberKey(bytes: Buffer, start: number, end: number): boolean {
  memberKey.bytes = bytes;
  memberKey.start = start;
  memberKey.end = end;
  if (end - start > keyBytesMax || !hasBackslash(bytes, start, end)) return true;
  const length = decodeAscii(bytes, start, end, decoded);
  if (length === -1) return false;
  memberKey.bytes = decoded;
  memberKey.start = 0;
  memberKey.end = length;
  return true;
}
