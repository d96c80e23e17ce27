import { hexDigitValue } from './bytes.ts';

/** What a lenient server reads differently: percent-encoding, path parameters, repeated and trailing slashes. */
const hasOtherReading = /[%;]|\/\/|.\/$/;

/**
 * The path as the most lenient server behind the gateway could read it: percent-encoding resolved once, as ASGI and WSGI servers
 * do before they route (`%2F` and `%63` too), path parameters cut off (servlets), repeated slashes taken as one (nginx's
 * merge_slashes), none at the end. `path` is clean (`isCleanTarget`), so no reading has a dot segment. Returns `path` itself
 * where there is only one reading.
 */
export function looseReading(path: string): string {
  if (!hasOtherReading.test(path)) return path;
  let read = '';
  let isInParameter = false;
  for (let index = 0; index < path.length; index++) {
    let char = path[index]!;
    if (char === '%') {
      const high = hexDigitValue[path.charCodeAt(index + 1)] ?? 0;
      const low = hexDigitValue[path.charCodeAt(index + 2)] ?? 0;
      char = String.fromCharCode(high * 16 + low);
      index += 2;
    }
    if (char === '/') isInParameter = false;
    else if (char === ';') isInParameter = true;
    if (isInParameter || (char === '/' && read.endsWith('/'))) continue;
    read += char;
  }
  return read.length > 1 && read.endsWith('/') ? read.slice(0, -1) : read;
}
