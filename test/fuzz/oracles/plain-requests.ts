/**
 * The requests in the bytes of one client connection, read by the grammar of RFC 9112 as far as the acceptor and the head guard
 * let it pass: what the gateway sends up must be one of them. Reading stops at the first that is not sound, and behind the first that is not complete.
 *
 * Where the acceptor reads otherwise, and so does this (docs/acceptor.md): empty lines in front of a request and a PROXY v2
 * header are skipped; bytes from 0x80 at the ends of a value are trimmed; fields behind an empty name are not seen; the body of
 * a chunked request is whatever the library makes of it, and nothing behind one is read.
 */
export interface PlainRequest {
  readonly startLine: string;
  /** Null for a chunked one. As far as it came, when not `isComplete`. */
  readonly body: string | null;
  readonly isComplete: boolean;
}

const proxySignature = '\r\n\r\n\x00\r\nQUIT\n';

export function requestsIn(bytes: string): PlainRequest[] {
  const requests: PlainRequest[] = [];
  let at = 0;
  if (bytes.startsWith(proxySignature) && bytes.length >= 16) {
    at = 16 + bytes.charCodeAt(14) * 256 + bytes.charCodeAt(15);
  }
  for (;;) {
    while (bytes.startsWith('\r\n', at)) at += 2;
    const end = bytes.indexOf('\r\n\r\n', at);
    if (end === -1) return requests;
    const [startLine, ...lines] = bytes.slice(at, end).split('\r\n');
    if (!/^[A-Z]+ \/[!-~]* HTTP\/1\.1$/.test(startLine!)) return requests;
    const hidden = lines.findIndex((line) => line.startsWith(':'));
    const fields = hidden === -1 ? lines : lines.slice(0, hidden);
    const isChunked = fields.some((line) => /^transfer-encoding:/i.test(line));
    const length = fields
      .map((line) => /^content-length:[ \t\x80-\xff]*([0-9]*)[ \t\x80-\xff]*$/i.exec(line)?.[1])
      .find((digits) => digits !== undefined);
    at = end + 4;
    if (isChunked) {
      requests.push({ startLine: startLine!, body: null, isComplete: true });
      return requests;
    }
    const bodyBytes = Number(length ?? 0);
    const isComplete = at + bodyBytes <= bytes.length;
    requests.push({ startLine: startLine!, body: bytes.slice(at, at + bodyBytes), isComplete });
    if (!isComplete) return requests;
    at += bodyBytes;
  }
}
