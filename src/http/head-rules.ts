/**
 * What a request head may hold, as pure predicates over what the listener hands up. They decide nothing: the head guard
 * turns a `false` into a status code. Grammar is RFC 9110 and RFC 9112; where a rule here is narrower, the comment says why.
 */
import { isDigit, isHexDigit, isTokenByte } from './bytes.ts';

export { isValidHost } from './host.ts';

/** RFC 9110 section 5.6.2. Field names, methods and coding names are tokens; an empty string is not. */
export function isToken(name: string): boolean {
  if (name.length === 0) return false;
  for (let index = 0; index < name.length; index++) {
    if (!isTokenByte(name.charCodeAt(index))) return false;
  }
  return true;
}

/**
 * No control character but HTAB, so the value cannot end its line or hide from a C string (RFC 9110 section 5.5).
 *
 * Characters above U+00FF pass, because the listener decodes UTF-8: a value must be written back as UTF-8. Written as
 * latin1 the high byte is lost, and U+4E0A would become a line feed.
 */
export function isCleanFieldValue(value: string): boolean {
  for (let index = 0; index < value.length; index++) {
    const code = value.charCodeAt(index);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return false;
  }
  return true;
}

/** `^[0-9]{1,15}$`, which is exact in a double. -1 for anything else: an empty value, a sign, a list, white space. */
export function parseContentLength(value: string): number {
  if (value.length === 0 || value.length > 15) return -1;
  let length = 0;
  for (let index = 0; index < value.length; index++) {
    const code = value.charCodeAt(index);
    if (!isDigit(code)) return -1;
    length = length * 10 + (code - 0x30);
  }
  return length;
}

const slash = 0x2f;
const backslash = 0x5c;

/**
 * Origin-form only (RFC 9112 section 3.2.1), with or without a query: visible ASCII, no `\` and no `#`, every `%` followed
 * by two hex digits, none of which spell NUL, CR or LF, and in the path no other control character and no `\` (`%5c`), which
 * some servers take for a slash. In the path no segment may be a dot segment, because the gateway matches the path as
 * written and an upstream that resolves it would serve another one. Encoded dots (`%2e`), encoded slashes as separators
 * (`..%2f`) and path parameters (`..;x`, `..%3b`) are read as such an upstream might.
 */
export function isCleanTarget(target: string): boolean {
  if (target.charCodeAt(0) !== slash) return false;
  let inPath = true;
  // The segment read so far: its count of dots, or -1 once it holds anything else. `;` freezes it.
  let dotCount = 0;
  let inParameter = false;
  for (let index = 1; index <= target.length; index++) {
    let code = index < target.length ? target.charCodeAt(index) : -1;
    if (code === 0x25) {
      const high = target.charCodeAt(index + 1);
      const low = target.charCodeAt(index + 2);
      if (!isHexDigit(high) || !isHexDigit(low)) return false;
      code = hexValue(high) * 16 + hexValue(low);
      if (code === 0x00 || code === 0x0a || code === 0x0d) return false;
      if (inPath && (code < 0x20 || code === 0x7f || code === backslash)) return false;
      index += 2;
      // An encoded `?` does not end the path.
      if (code === 0x3f) code = 0x41;
    } else if (code !== -1 && (code <= 0x20 || code >= 0x7f || code === backslash || code === 0x23)) {
      return false;
    }
    if (!inPath) continue;
    if (code === -1 || code === slash || code === backslash || code === 0x3f) {
      if (dotCount === 1 || dotCount === 2) return false;
      dotCount = 0;
      inParameter = false;
      if (code === 0x3f) inPath = false;
    } else if (code === 0x3b) {
      inParameter = true;
    } else if (!inParameter) {
      dotCount = code === 0x2e && dotCount >= 0 ? dotCount + 1 : -1;
    }
  }
  return true;
}

/** What may stand behind the `?`: visible ASCII but `#`, which no request target has (RFC 9112 section 3.2). */
export function isCleanQuery(query: string): boolean {
  for (let index = 0; index < query.length; index++) {
    const code = query.charCodeAt(index);
    if (code <= 0x20 || code >= 0x7f || code === 0x23) return false;
  }
  return true;
}

function hexValue(code: number): number {
  return code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57;
}

/** The members of a Connection field, lower-case, without white space and empty elements (RFC 9110 section 5.6.1). */
export function connectionTokens(value: string): string[] {
  const tokens: string[] = [];
  for (const member of value.split(',')) {
    const token = trimOws(member).toLowerCase();
    if (token !== '') tokens.push(token);
  }
  return tokens;
}

/**
 * Whether `value` spells the token `lower`, which is lower-case ASCII, in any case (RFC 9110 section 5.6.2). Not
 * `toLowerCase`: it makes a `k` of U+212A, the Kelvin sign, and `chun\u212aed` is not a coding to anybody else.
 */
export function isSameToken(value: string, lower: string): boolean {
  if (value.length !== lower.length) return false;
  for (let index = 0; index < lower.length; index++) {
    const code = value.charCodeAt(index);
    const folded = code >= 0x41 && code <= 0x5a ? code | 0x20 : code;
    if (folded !== lower.charCodeAt(index)) return false;
  }
  return true;
}

/** Optional white space is SP and HTAB; `String.trim` would also take U+00A0 and make one name of two. */
export function trimOws(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isOws(value.charCodeAt(start))) start++;
  while (end > start && isOws(value.charCodeAt(end - 1))) end--;
  return start === 0 && end === value.length ? value : value.slice(start, end);
}

function isOws(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/**
 * Methods the gateway forwards; anything else is 501. CONNECT would make it a tunnel, and TRACE would reflect the
 * injected upstream credential to the client.
 */
export const knownMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
