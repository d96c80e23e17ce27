import type { Downstream, Exchange } from '../exchange/index.ts';
import { isNominable, responseFieldsDropped, statusLine } from '../http/index.ts';

const aboveLatin1 = /[^\x00-\xff]/; // oxlint-disable-line no-control-regex -- Tells one class of characters from the other.
const notAscii = /[^\x00-\x7f]/; // oxlint-disable-line no-control-regex -- As above.

/**
 * The head of the endpoint's response as the client gets it, written inside a cork with the first piece of the body: the
 * commit point. `http/field-rules` says which fields stay behind, and those Connection names do; date, length and coding are
 * the library's. `closes`: the client is told that the connection ends.
 *
 * Every name and value was checked where it was set: the endpoint's by the parser, a filter's by `FieldList` and the filter
 * chain.
 */
export function writeResponseHead(exchange: Exchange, downstream: Downstream, closes: boolean): void {
  const head = exchange.responseHead;
  downstream.writeStatus(statusLine(head.status));
  const nominated = head.nominated();
  // One call for all fields: each costs two conversions of a string to bytes.
  let lines = `1.1 penstock\r\nx-request-id: ${exchange.requestId}`;
  for (let index = 0; index < head.count; index++) {
    const name = head.names[index]!;
    if (responseFieldsDropped.has(name)) continue;
    if (nominated !== null && index < head.wireCount && nominated.includes(name) && isNominable(name)) continue;
    const value = head.values[index]!;
    if (notAscii.test(value)) downstream.writeHeader(name, wireBytes(value));
    else lines += `\r\n${name}: ${value}`;
  }
  downstream.writeHeader('via', lines);
  if (closes) downstream.writeHeader('connection', 'close');
  exchange.isCommitted = true;
  exchange.status = head.status;
}

/**
 * The endpoint's values come decoded as latin1, and the library would write characters above U+007F as two bytes. A value with
 * characters above U+00FF is a filter's and goes as UTF-8: as latin1 U+4E0A would become a line feed.
 */
function wireBytes(value: string): string | Uint8Array {
  return aboveLatin1.test(value) ? value : Buffer.from(value, 'latin1');
}
