/** Why a response cannot be read; each is the fault of the upstream (`upstream_invalid`). The text is what is logged. */
export const ParserErrorCode = {
  none: 'none',
  badStatusLine: 'bad_status_line',
  badHeader: 'bad_header',
  headTooLarge: 'head_too_large',
  tooManyHeaders: 'too_many_headers',
  badContentLength: 'bad_content_length',
  /** Both Content-Length and Transfer-Encoding: the classic of request smuggling (RFC 9112 section 6.3). */
  lengthAndChunked: 'length_and_chunked',
  badTransferEncoding: 'bad_transfer_encoding',
  badChunkSize: 'bad_chunk_size',
  chunkExtensionTooLarge: 'chunk_extension_too_large',
  badChunkEnd: 'bad_chunk_end',
  badTrailer: 'bad_trailer',
  trailerTooLarge: 'trailer_too_large',
  tooManyInterim: 'too_many_interim',
  /** 101 without an upgrade having been asked for. */
  unexpectedUpgrade: 'unexpected_upgrade',
} as const;
export type ParserErrorCode = (typeof ParserErrorCode)[keyof typeof ParserErrorCode];

/** Bounds of one response; each is inclusive. */
export interface ResponseLimits {
  /** Status line, fields and the empty line together; each interim (1xx) head is counted on its own. */
  readonly headBytesMax: number;
  readonly headerCountMax: number;
  /** All trailer fields of a chunked body, without its last empty line. */
  readonly trailerBytesMax: number;
  /** What follows the size on one chunk's size line; on all lines together 16 times that beyond twice the payload. */
  readonly chunkExtensionBytesMax: number;
  /** 1xx responses before the final one. */
  readonly interimCountMax: number;
}
