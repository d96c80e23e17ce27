import { isDigit, isHexDigit } from './bytes.ts';

/** `reg-name` of RFC 3986 without percent-encoding and comma: unreserved and the other sub-delims. */
const isNameByte = new Uint8Array(128);
for (const char of "-._~!$&'()*+;=") isNameByte[char.charCodeAt(0)] = 1;
for (let code = 0x30; code <= 0x39; code++) isNameByte[code] = 1;
for (let code = 0x41; code <= 0x5a; code++) isNameByte[code] = isNameByte[code | 0x20] = 1;

/**
 * `uri-host [ ":" port ]` (RFC 9110 section 7.2), port at most 65535, IPv6 in brackets. Narrower than the grammar: not
 * empty, no leading dot (a virtual-host suffix match would take `.example.com` for a subdomain), no comma (two Host fields
 * joined by a front proxy) and no percent-encoding (what it hides, `@` or `/`, is decoded by some servers and not by others).
 */
export function isValidHost(value: string): boolean {
  let end = 0;
  if (value.charCodeAt(0) === 0x5b) {
    const close = value.indexOf(']');
    if (close === -1 || !isIpv6(value.slice(1, close))) return false;
    end = close + 1;
  } else {
    if (value.charCodeAt(0) === 0x2e) return false;
    while (end < value.length && isNameByte[value.charCodeAt(end)] === 1) end++;
    if (end === 0) return false;
  }
  if (end === value.length) return true;
  return value.charCodeAt(end) === 0x3a && isPort(value, end + 1);
}

/** `*DIGIT`, so empty is legal; at most 65535. */
function isPort(value: string, start: number): boolean {
  if (value.length - start > 5) return false;
  let port = 0;
  for (let index = start; index < value.length; index++) {
    const code = value.charCodeAt(index);
    if (!isDigit(code)) return false;
    port = port * 10 + (code - 0x30);
  }
  return port <= 65535;
}

/** IPv6address of RFC 3986 section 3.2.2: 8 groups of 16 bits, the last two as IPv4 perhaps, one `::` for a run of zeros. */
function isIpv6(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2) return false;
  const compressed = halves.length === 2;
  const before = groupCount(halves[0]!, !compressed);
  const after = compressed ? groupCount(halves[1]!, true) : 0;
  if (before < 0 || after < 0) return false;
  return compressed ? before + after <= 7 : before === 8;
}

/** Groups in `h16 *(":" h16)`, 0 for an empty text, -1 when malformed; an IPv4 ending counts as two. */
function groupCount(text: string, mayEndInIpv4: boolean): number {
  if (text === '') return 0;
  const groups = text.split(':');
  let count = 0;
  for (const [index, group] of groups.entries()) {
    if (mayEndInIpv4 && index === groups.length - 1 && group.includes('.')) {
      if (!isIpv4(group)) return -1;
      count += 2;
      continue;
    }
    if (group.length === 0 || group.length > 4) return -1;
    for (let at = 0; at < group.length; at++) if (!isHexDigit(group.charCodeAt(at))) return -1;
    count++;
  }
  return count;
}

function isIpv4(text: string): boolean {
  const octets = text.split('.');
  return octets.length === 4 && octets.every((octet) => /^(0|[1-9][0-9]{0,2})$/.test(octet) && Number(octet) <= 255);
}
