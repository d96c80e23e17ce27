import type { Downstream } from '../exchange/index.ts';

/**
 * Ends a response that has no body (HEAD, 204, 304), inside the cork in which its other fields were written.
 * `contentLength`: what a GET would have had, or -1. `cuts`: the caller closes the connection behind the cork.
 *
 * The library's own ways are not used: a length given to `endWithoutBody` is taken for a body still to come, so the
 * response never ends and the close of the connection is reported to the next user of the record; without a length but
 * with `closes` it writes a Content-Length of 2^63.
 */
export function endBodyless(downstream: Downstream, contentLength: number, cuts: boolean): void {
  if (contentLength >= 0) downstream.writeHeader('content-length', String(contentLength));
  // The second line end is the empty line behind the fields: `close` writes none.
  if (cuts) downstream.writeHeader('connection', 'close\r\n');
  else downstream.endWithoutBody();
}
