/**
 * exchange: the record of one request and its response, in which all stages meet, and the rules that hold for its life:
 * the state machines of its two halves, the closed table of reasons it can end for, and the book of what it holds.
 *
 * Owns no resource itself: the book says who does. Read in this order: exchange (the record), half-stream (what may
 * happen next), close-reasons (how it may end), lease-book (what it holds), request-head, request-facts, request-body,
 * priority.
 */
export { closeCodes, closeReasons } from './close-reasons.ts';
export type { CloseCode, CloseReason } from './close-reasons.ts';
export type { Downstream } from './downstream.ts';
export { Exchange, noDeadline, Phase, phaseNames } from './exchange.ts';
export { FieldList } from './field-list.ts';
export { Half, HalfStream } from './half-stream.ts';
export { Lease, LeaseBook, leaseNames } from './lease-book.ts';
export type { LeaseCells } from './lease-book.ts';
export { Priority, priorityCount, priorityFrom, priorityNames } from './priority.ts';
export { RequestBody } from './request-body.ts';
export { Api, RequestFacts } from './request-facts.ts';
export { RequestHead } from './request-head.ts';
export { ResponseHead } from './response-head.ts';
