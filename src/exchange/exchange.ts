import type { CloseCode } from './close-reasons.ts';
import type { Downstream } from './downstream.ts';
import { HalfStream } from './half-stream.ts';
import { Priority } from './priority.ts';
import { RequestBody } from './request-body.ts';
import { RequestFacts } from './request-facts.ts';
import { RequestHead } from './request-head.ts';
import { ResponseHead } from './response-head.ts';

/**
 * Where an exchange stands, for deadlines and for `/exchanges`. What ends it is in the halves; the phase says what it
 * waits for.
 *
 *   receiving ─▶ queued ─▶ connecting ─▶ waiting ─▶ streaming ─▶ (closed)
 *       │          ▲──────────┴───────────┘ next attempt             ▲
 *       └──▶ answering ──────────────────────────────────────────────┘  from any phase before streaming
 */
export const Phase = {
  /** Not in use. */
  free: 0,
  /** The head is here; routing still needs something of the body. */
  receiving: 1,
  /** Waits for a place at an endpoint. */
  queued: 2,
  connecting: 3,
  /** The request is on its way; no response head yet. */
  waiting: 4,
  /** The response is being relayed. */
  streaming: 5,
  /** The gateway's own answer will be written on a later turn. */
  answering: 6,
} as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

export const phaseNames: readonly string[] = [
  'free',
  'receiving',
  'queued',
  'connecting',
  'waiting',
  'streaming',
  'answering',
];

/** No deadline armed. */
export const noDeadline = Number.POSITIVE_INFINITY;

/**
 * One request with its response: the record in which the stages meet. Records are pooled, one shape, every field set
 * here; `generation` tells a late callback that it belongs to an earlier life.
 */
export class Exchange {
  generation = 0;
  phase: Phase = Phase.free;
  heldLeases = 0;

  // Identity.
  requestId = '';
  listenerIndex = 0;

  // Downstream: the client's side.
  downstream: Downstream | null = null;
  /** True once the response object may not be touched any more: aborted, ended or closed. */
  isDownstreamOver = true;
  isDownstreamPaused = false;
  /** True once status and fields were written downstream: the commit point, after which there is no new status. */
  isCommitted = false;

  // Request.
  readonly head = new RequestHead();
  readonly body = new RequestBody();
  readonly facts = new RequestFacts();
  readonly request = new HalfStream();

  // Response.
  readonly response = new HalfStream();
  readonly responseHead = new ResponseHead();
  /** Status the client got, 0 while nothing was sent. */
  status = 0;
  responseBytes = 0;
  isEventStream = false;

  // Routing.
  priority: Priority = Priority.normal;
  /** Name for metrics and logs: a configured model or `other`. */
  modelLabel = '';
  poolName = '';
  /** Where account keeps the series of (modelLabel, poolName); a hint that may be out of date. */
  flowPlace = -1;
  endpointUrl = '';
  /** Where the prompt was computed, if not there. */
  prefillUrl = '';
  attempts = 0;
  /** The gateway has tried again as often as it may: the client should not. */
  areRetriesSpent = false;
  /** Why the request could not, or may not, be sent again: a label of `penstock_replay_skipped_total`. */
  replaySkipped = '';
  /** What the client is told to wait, where it is known better than by the reason; 0 = it is not. */
  retryAfterSeconds = 0;

  // Times, in milliseconds of the clock; 0 = has not happened.
  startedMs = 0;
  /** When routing had all it needed. */
  routableMs = 0;
  dispatchedMs = 0;
  /** First byte of the response body. */
  firstByteMs = 0;
  lastEventMs = 0;
  /** The last ping. */
  pingedMs = 0;

  // Deadlines, absolute, swept by the shard's one timer.
  requestDeadlineMs = noDeadline;
  responseDeadlineMs = noDeadline;
  totalDeadlineMs = noDeadline;
  queueDeadlineMs = noDeadline;

  // What was believed when its endpoint was chosen; -1 = nothing.
  /** Prompt tokens, from the bytes of its prompt, or else of its body. */
  estimatedTokens = -1;
  /** Of those, what the endpoint was to hold, where routing goes by that. */
  matchedTokens = -1;

  /** Completion tokens a second that its endpoint could still write. */
  headroom = -1;

  // Outcome.
  promptTokens = -1;
  completionTokens = -1;
  cachedTokens = -1;
  /** Estimated: how long endpoints worked for it, all attempts together. */
  gpuSeconds = 0;
  /** Tokens reserved on the endpoint while the exchange runs. */
  reservedTokens = 0;
  closeCode: CloseCode | null = null;

  /** Back to the state of a new record, one generation later. Called by the pool after close. */
  recycle(): void {
    this.generation++;
    this.phase = Phase.free;
    this.heldLeases = 0;
    this.requestId = '';
    this.listenerIndex = 0;
    this.downstream = null;
    this.isDownstreamOver = true;
    this.isDownstreamPaused = false;
    this.isCommitted = false;
    this.head.recycle();
    this.body.recycle();
    this.facts.recycle();
    this.request.recycle();
    this.response.recycle();
    this.responseHead.recycle();
    this.status = 0;
    this.responseBytes = 0;
    this.isEventStream = false;
    this.priority = Priority.normal;
    this.modelLabel = '';
    this.poolName = '';
    this.flowPlace = -1;
    this.endpointUrl = '';
    this.prefillUrl = '';
    this.attempts = 0;
    this.areRetriesSpent = false;
    this.replaySkipped = '';
    this.retryAfterSeconds = 0;
    this.startedMs = 0;
    this.routableMs = 0;
    this.dispatchedMs = 0;
    this.firstByteMs = 0;
    this.lastEventMs = 0;
    this.pingedMs = 0;
    this.requestDeadlineMs = noDeadline;
    this.responseDeadlineMs = noDeadline;
    this.totalDeadlineMs = noDeadline;
    this.queueDeadlineMs = noDeadline;
    this.estimatedTokens = -1;
    this.matchedTokens = -1;
    this.headroom = -1;
    this.promptTokens = -1;
    this.completionTokens = -1;
    this.cachedTokens = -1;
    this.gpuSeconds = 0;
    this.reservedTokens = 0;
    this.closeCode = null;
  }
}
