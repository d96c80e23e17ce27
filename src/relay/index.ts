/**
 * relay: moves body bytes between the two sides, with backpressure and cancellation, and writes what the gateway itself
 * has to say. Owns what a slow client has not taken yet; slabs of a request body are read here and given back by account.
 *
 * Read in this order: request-relay (up), response-relay (down) with response-head-writer, stream-end (whether
 * a stream is complete), reply (the gateway's own answers), bodyless, body-edit.
 */
export { editedBytes, modelEdit, noEdits } from './body-edit.ts';
export type { BodyEdit } from './body-edit.ts';
export { errorReply, truncationEvent, writeReply } from './reply.ts';
export type { Reply } from './reply.ts';
export { JoinBuffer, RequestRelay } from './request-relay.ts';
export type { RequestSink } from './request-relay.ts';
export { ResponseRelay } from './response-relay.ts';
export type { ResponseSource } from './response-relay.ts';
export { isStreamWhole } from './stream-end.ts';
