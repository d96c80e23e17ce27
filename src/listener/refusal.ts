import type { CloseCode } from '../exchange/index.ts';

/** Why the head guard stops a request: a close reason with the sentence the client gets. Built once, never per request. */
export interface Refusal {
  readonly code: CloseCode;
  readonly message: string;
}

function refusal(code: CloseCode, message: string): Refusal {
  return Object.freeze({ code, message });
}

export const refusals = {
  method: refusal('not_implemented', 'The method is not implemented.'),
  target: refusal('head_invalid', 'The request target is malformed.'),
  targetTooLong: refusal('target_too_long', 'The request target is too long.'),
  fieldName: refusal('head_invalid', 'A field name is malformed.'),
  fieldValue: refusal('head_invalid', 'A field value holds a byte that is not allowed.'),
  headTooLarge: refusal('head_too_large', 'The header section is too large.'),
  host: refusal('head_invalid', 'The request needs exactly one valid Host field.'),
  duplicateField: refusal('head_invalid', 'A field that may stand once is repeated.'),
  contentLength: refusal('head_invalid', 'The Content-Length field is malformed or repeated.'),
  lengthAndCoding: refusal('head_invalid', 'Content-Length and Transfer-Encoding exclude each other.'),
  transferCoding: refusal('not_implemented', 'The transfer coding is not implemented; only chunked is.'),
  transferEncoding: refusal('head_invalid', 'The Transfer-Encoding field is malformed or repeated.'),
  lengthRequired: refusal('length_required', 'The request needs a Content-Length.'),
  unexpectedBody: refusal('head_invalid', 'A request of this method may not have a body.'),
  expectation: refusal('head_invalid', 'The expectation is not known; only 100-continue is.'),
  bodyTooLarge: refusal('body_too_large', 'The request body is larger than the gateway accepts.'),
  clientCertificate: refusal('not_allowed', 'The listener requires a client certificate.'),
  upgrade: refusal('not_implemented', 'Protocol upgrades are not implemented.'),
} as const;
