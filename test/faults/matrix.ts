/**
 * What comes of an exchange when something goes wrong, by what it waits for at that moment. The table drives
 * test/wire/fault-matrix.test.ts and stands in docs/faults.md.
 */

/** What the exchange waits for; see docs/life-of-an-exchange.md. */
export const matrixPhases = ['receiving', 'queued', 'connecting', 'waiting', 'streaming', 'answering'] as const;
export type MatrixPhase = (typeof matrixPhases)[number];

export const matrixFaults = {
  clientFin: 'the client closes',
  clientRst: 'the client resets',
  clientReadsNot: 'the client stops reading',
  clientSendsNot: 'the client stops sending',
  refuses: 'the endpoint refuses',
  resets: 'the endpoint resets',
  closes: 'the endpoint closes early',
  garbage: 'the endpoint sends garbage',
  stalls: 'nothing more comes',
  drain: 'a drain runs out',
  reload: 'a reload takes the pool away',
  deadline: '`total_ms` is over',
} as const;
export type MatrixFault = keyof typeof matrixFaults;

export interface Outcome {
  /** What the client gets: a status with its code, the whole answer, a cut one; `gone` where it left itself. */
  readonly client: string;
  /** `reason` of the access record. */
  readonly reason: string;
  /** What the endpoint it was at sees: no byte of the request, the end of its connection before it was done, or its end. */
  readonly endpoint: 'never asked' | 'closed' | 'finished';
  /** Another endpoint is asked. */
  readonly isRetried: boolean;
}

function outcome(client: string, reason: string, endpoint: Outcome['endpoint'], isRetried = false): Outcome {
  return { client, reason, endpoint, isRetried };
}

const goneUnasked = outcome('gone', 'client_gone', 'never asked');
const goneClosed = outcome('gone', 'client_gone', 'closed');
const lateSender = (endpoint: Outcome['endpoint']): Outcome =>
  outcome('408 request_timeout', 'request_timeout', endpoint);
const drained = (endpoint: Outcome['endpoint']): Outcome => outcome('503 draining', 'draining', endpoint);
const outlived = (endpoint: Outcome['endpoint']): Outcome => outcome('504 stream_timeout', 'stream_timeout', endpoint);
const elsewhere = (endpoint: Outcome['endpoint']): Outcome => outcome('whole', 'done', endpoint, true);
const truncated = outcome('cut stream_truncated', 'stream_truncated', 'closed');

/** A cell that is not there cannot be: the phase does not wait for that side. */
export const matrix: Readonly<Record<MatrixPhase, Readonly<Partial<Record<MatrixFault, Outcome>>>>> = {
  receiving: {
    clientFin: goneUnasked,
    clientRst: goneUnasked,
    clientSendsNot: lateSender('never asked'),
    drain: drained('never asked'),
    reload: outcome('whole', 'done', 'finished'),
    deadline: outlived('never asked'),
  },
  queued: {
    clientFin: goneUnasked,
    clientRst: goneUnasked,
    clientSendsNot: lateSender('never asked'),
    stalls: outcome('503 saturated', 'saturated', 'never asked'),
    drain: drained('never asked'),
    reload: outcome('whole', 'done', 'finished'),
    deadline: outlived('never asked'),
  },
  connecting: {
    clientFin: goneUnasked,
    clientRst: goneUnasked,
    clientSendsNot: lateSender('never asked'),
    refuses: elsewhere('never asked'),
    stalls: elsewhere('never asked'),
    drain: drained('never asked'),
    reload: elsewhere('never asked'),
    deadline: outlived('never asked'),
  },
  waiting: {
    clientFin: goneClosed,
    clientRst: goneClosed,
    clientSendsNot: lateSender('closed'),
    refuses: elsewhere('closed'),
    resets: elsewhere('closed'),
    closes: elsewhere('closed'),
    garbage: outcome('502 upstream_invalid', 'upstream_invalid', 'closed'),
    stalls: outcome('504 first_byte_timeout', 'first_byte_timeout', 'closed'),
    drain: drained('closed'),
    reload: outcome('whole', 'done', 'finished'),
    deadline: outlived('closed'),
  },
  streaming: {
    clientFin: goneClosed,
    clientRst: goneClosed,
    clientReadsNot: outcome('whole', 'done', 'finished'),
    clientSendsNot: outcome('cut stream_truncated', 'request_timeout', 'closed'),
    resets: truncated,
    closes: truncated,
    garbage: truncated,
    stalls: outcome('cut stream_truncated', 'stream_timeout', 'closed'),
    drain: outcome('cut stream_truncated', 'draining', 'closed'),
    reload: outcome('whole', 'done', 'finished'),
    deadline: outcome('cut stream_truncated', 'stream_timeout', 'closed'),
  },
  // It lasts for the rest of one turn of the event loop: who leaves in it was answered, or was too early to be. A reset may
  // overtake the request itself.
  answering: {
    clientFin: outcome('gone', 'client_gone or model_not_found', 'never asked'),
  },
};
