/**
 * The client's side of an exchange as the stages after the listener see it. It is the shape of uWebSockets.js's
 * HttpResponse, named here so that nobody but the listener imports the library.
 *
 * Rules of that library which every caller keeps (docs/acceptor.md has the measurements):
 * - after abort, `end`, `endWithoutBody`, a `tryEnd` that returned done, or `close`, no method may be called;
 * - writes are made inside `cork`; a chunk over 16 000 bytes is written outside of it;
 * - `write` takes everything (false = it was buffered), `tryEnd` keeps nothing (resend from getWriteOffset);
 * - `end(body, true)` only when no `write` came before: it would put a field line into the body.
 */
export interface Downstream {
  writeStatus(status: string): unknown;
  writeHeader(name: string, value: string | Uint8Array): unknown;
  write(chunk: string | Uint8Array): boolean;
  tryEnd(chunk: string | Uint8Array, totalBytes: number): [ok: boolean, done: boolean];
  end(body?: string | Uint8Array, closesConnection?: boolean): unknown;
  endWithoutBody(contentLength?: number, closesConnection?: boolean): unknown;
  close(): unknown;
  cork(body: () => void): unknown;
  pause(): void;
  resume(): void;
  getWriteOffset(): number;
  getRemoteAddressAsText(): ArrayBuffer;
  /** Empty when no PROXY v2 header came. */
  getProxiedRemoteAddressAsText(): ArrayBuffer;
}
