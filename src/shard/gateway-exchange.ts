import { Exchange, noDeadline } from '../exchange/index.ts';
import type { MemberSpans, PromptParts, RequestScanner, ResponseParser } from '../http/index.ts';
import type { DownstreamHooks } from '../listener/index.ts';
import {
  type DecodeRequest,
  type KvPickRequest,
  Loading,
  type PromptKeys,
  servesAll,
  TriedEndpoints,
} from '../pick/index.ts';
import { type JoinBuffer, type Reply, RequestRelay, ResponseRelay } from '../relay/index.ts';
import type { Route } from '../route/index.ts';
import { otherRow, Probe, type SlabPool } from '../shm/index.ts';
import type { UpstreamConnection, UpstreamFailure, UpstreamUser } from '../upstream/index.ts';
import type { CloseCode } from '../exchange/index.ts';
import type { BodyReading } from './body-jobs.ts';
import type { PrefillLeg } from './disaggregation/prefill-leg.ts';
import type { PoolRuntime, Runtime } from './runtime.ts';

/** How the body is looked at, and what routing waits for. */
export const BodyLook = {
  /** Not at all: no body, or none we could read. Routed at once. */
  none: 0,
  /** For the log and for metrics only; a body we cannot read passes as it is. Routed at once. */
  casual: 1,
  /** As casual, but routing wants a field of it, so it waits until the body is complete. */
  casualWhole: 2,
  /** Routing depends on the model: routed as soon as it is known; anything two parsers could read differently is refused. */
  strict: 3,
  /** As strict, but a field may also be absent, which is known only at the end. */
  strictWhole: 4,
  /** A multipart form with the model in one of its parts: read when it is complete. */
  multipart: 5,
} as const;
export type BodyLook = (typeof BodyLook)[keyof typeof BodyLook];

/** The stages an upstream connection reports to. */
export interface UpstreamEvents {
  onUpstreamReady(exchange: GatewayExchange): void;
  onUpstreamHead(exchange: GatewayExchange, response: ResponseParser): void;
  onUpstreamBody(exchange: GatewayExchange, bytes: Buffer, start: number, end: number): void;
  onUpstreamEnd(exchange: GatewayExchange): void;
  onUpstreamFailed(exchange: GatewayExchange, failure: UpstreamFailure, detail: string): void;
  onUpstreamFlushed(exchange: GatewayExchange): void;
}

/** A stage threw. Throws what it cannot contain. */
export type OnThrow = (exchange: GatewayExchange, error: unknown) => void;

/** The record with everything a shard's stages keep on it. */
export class GatewayExchange extends Exchange implements UpstreamUser, KvPickRequest, DecodeRequest {
  hooks!: DownstreamHooks<GatewayExchange>;
  readonly requestRelay: RequestRelay;
  readonly responseRelay: ResponseRelay;
  readonly #events: UpstreamEvents;
  readonly #onThrow: OnThrow;

  /** Position in the shard's list of open exchanges. */
  openIndex = -1;
  runtime: Runtime | null = null;
  wantsAccessLog = false;

  // Intake.
  bodyLook: BodyLook = BodyLook.none;
  isRouted = false;
  /** Borrowed from the shard while the body is scanned. */
  scanner: RequestScanner | null = null;
  /** As the scanner, where a pool picks by prompts. */
  promptParts: PromptParts | null = null;
  /** Where members stand in the body: borrowed until the exchange is closed, where a pool is disaggregated. */
  spans: MemberSpans | null = null;
  pausedSinceMs = 0;
  /** `priority` is settled, and the shedder has let the request in. */
  isAdmitted = false;
  /** Since when the upload's rate is measured, 0 = not; and what had come by then. */
  uploadWindowMs = 0;
  uploadWindowBytes = 0;
  /** Since when the client has taken nothing of what is held up for it; 0 = nothing is. */
  stalledSinceMs = 0;
  /** When the library's timer was last begun anew. */
  heldOpenMs = 0;
  /** Set while worker threads read the body's slabs. */
  reading: BodyReading | null = null;

  // Dispatch.
  route: Route | null = null;
  /** Bit set of targets given up. */
  triedTargets = 0;
  targetIndex = -1;
  pool: PoolRuntime | null = null;
  endpointIndex = -1;
  connection: UpstreamConnection | null = null;
  /** Attempts in the present pool. */
  poolAttempts = 0;
  /** PickRequest: endpoints of the present pool that failed. */
  readonly tried = new TriedEndpoints();
  /** PickRequest. */
  hashKey = 0;
  queuedSinceMs = 0;
  /** Where it waits, which is not where it is tried meanwhile; null = it does not. */
  queuePool: PoolRuntime | null = null;
  /** Bit set of targets that had no room when it began to wait. */
  fullTargets = 0;
  /** Whose request it is, in the queue of the present pool; 0 = nobody's in particular. */
  flow = 0;
  /** It has had its turn in the present pool: what follows are further attempts. */
  hasTurn = false;
  /** When it came to the queue, by the queue's own count; and what it weighs there. */
  queueTicket = 0;
  queuedKib = 0;
  /** Whose request it is there. */
  queueFlow = 0;
  /** Which part of the pool it has use for, and which model its endpoint has to have. */
  queuePart = 0;
  queueModel = 0;
  /** Which part of the pool had no room when it was tried last, though others had; 0 = none. */
  missingPart = 0;
  /** In which look at the queue it was passed over. */
  passedRound = 0;
  /** Tokens its flow has been charged for the present attempt. */
  chargedTokens = 0;
  /** KvPickRequest: borrowed from the shard until the exchange is closed. */
  prompt: PromptKeys | null = null;
  /** KvPickRequest. */
  pendingTokens = 0;
  aheadTokens = 0;
  computedMs = 0;
  computedTokens = 0;
  score = Number.NaN;
  /** Why the endpoint was picked, for the client; '' where nobody is to be told. */
  pickText = '';
  /** PickRequest: the model's row of the health table, in the present pool. */
  modelRow: number = otherRow;
  /** PickRequest. */
  mayProbe = false;
  /** PickRequest. */
  wants: number = servesAll;
  /** DecodeRequest. */
  splitTokens = 0;
  /** The prompt's side of the present attempt; stays with the record from the first time it is needed. */
  leg: PrefillLeg | null = null;
  prefillDeadlineMs = noDeadline;
  /** PickRequest: of the present target. */
  fits: Uint8Array | null = null;
  /** PickRequest: of the model's name in the present pool. */
  modelKey = 0;
  /** PickRequest. */
  contextTokens = 0;
  /** LoadingRequest. */
  loading: Loading = Loading.none;

  // The present attempt.
  /** Bit set of `Probe`: what it is the probe of. Held as a lease. */
  probes: number = Probe.none;
  /** The endpoint has been judged by it; what follows is its consequence. */
  isJudged = false;
  /** Its pace has been judged while it streams. */
  isPaceKnown = false;
  /** Since when its pace is watched, from the first text on, and at which event that was; 0 = not yet. */
  textSinceMs = 0;
  textSinceEvent = 0;

  /** WorkMeter: when it was sent, 0 = not yet; and prompt tokens to be computed for it, 0 = it is no such request. */
  sentMs = 0;
  promptWork = 0;
  /** WorkMeter: the status of its answer says that nothing was computed. */
  isRefused = false;
  /** WorkMeter: how long its endpoint worked for its prompt, and the readings of the endpoint's clock it counts from. */
  promptMs = 0;
  tokenMsAtStart = 0;
  answerMsAtStart = 0;
  isAnswering = false;
  /** WorkMeter: completion tokens counted, and how many are taken to be in an event. */
  countedTokens = 0;
  tokensPerEvent = 1;

  /** Why the last attempt was given up: connect, reset or a status; '' before any was. */
  retryCause = '';

  // Closing.
  pendingReply: Reply | null = null;
  pendingCode: CloseCode = 'done';
  /** What was seen of a failure, for the log. */
  detail = '';

  constructor(slabs: SlabPool, join: JoinBuffer, events: UpstreamEvents, onThrow: OnThrow) {
    super();
    this.requestRelay = new RequestRelay(slabs, join);
    this.responseRelay = new ResponseRelay(this);
    this.#events = events;
    this.#onThrow = onThrow;
  }

  override recycle(): void {
    super.recycle();
    this.requestRelay.stop();
    this.responseRelay.recycle();
    this.openIndex = -1;
    this.runtime = null;
    this.wantsAccessLog = false;
    this.bodyLook = BodyLook.none;
    this.isRouted = false;
    this.scanner = null;
    this.promptParts = null;
    this.spans = null;
    this.pausedSinceMs = 0;
    this.isAdmitted = false;
    this.uploadWindowMs = 0;
    this.uploadWindowBytes = 0;
    this.stalledSinceMs = 0;
    this.heldOpenMs = 0;
    this.reading = null;
    this.route = null;
    this.triedTargets = 0;
    this.targetIndex = -1;
    this.pool = null;
    this.endpointIndex = -1;
    this.connection = null;
    this.poolAttempts = 0;
    this.tried.clear();
    this.hashKey = 0;
    this.prompt = null;
    this.pendingTokens = 0;
    this.aheadTokens = 0;
    this.computedMs = 0;
    this.computedTokens = 0;
    this.score = Number.NaN;
    this.pickText = '';
    this.queuedSinceMs = 0;
    this.queuePool = null;
    this.fullTargets = 0;
    this.queueFlow = 0;
    this.queuePart = 0;
    this.queueModel = 0;
    this.missingPart = 0;
    this.flow = 0;
    this.hasTurn = false;
    this.queueTicket = 0;
    this.queuedKib = 0;
    this.passedRound = 0;
    this.chargedTokens = 0;
    this.modelRow = otherRow;
    this.mayProbe = false;
    this.wants = servesAll;
    this.splitTokens = 0;
    this.prefillDeadlineMs = noDeadline;
    this.fits = null;
    this.modelKey = 0;
    this.contextTokens = 0;
    this.loading = Loading.none;
    this.beginAttempt(Probe.none);
    this.retryCause = '';
    this.pendingReply = null;
    this.pendingCode = 'done';
    this.detail = '';
  }

  /** What was seen of an earlier attempt says nothing about this one. */
  beginAttempt(probes: number): void {
    this.probes = probes;
    this.isJudged = false;
    this.isPaceKnown = false;
    this.textSinceMs = 0;
    this.textSinceEvent = 0;
    this.sentMs = 0;
    this.promptWork = 0;
    this.isRefused = false;
    this.promptMs = 0;
    this.tokenMsAtStart = 0;
    this.answerMsAtStart = 0;
    this.isAnswering = false;
    this.countedTokens = 0;
    this.tokensPerEvent = 1;
  }

  // UpstreamUser. What is thrown behind these calls ends this exchange, and goes no further up.

  onUpstreamReady(): void {
    try {
      this.#events.onUpstreamReady(this);
    } catch (error) {
      this.#onThrow(this, error);
    }
  }

  onUpstreamHead(response: ResponseParser): void {
    try {
      this.#events.onUpstreamHead(this, response);
    } catch (error) {
      this.#onThrow(this, error);
    }
  }

  onUpstreamBody(bytes: Buffer, start: number, end: number): void {
    try {
      this.#events.onUpstreamBody(this, bytes, start, end);
    } catch (error) {
      this.#onThrow(this, error);
    }
  }

  onUpstreamEnd(): void {
    try {
      this.#events.onUpstreamEnd(this);
    } catch (error) {
      this.#onThrow(this, error);
    }
  }

  onUpstreamFailed(failure: UpstreamFailure, detail: string): void {
    try {
      this.#events.onUpstreamFailed(this, failure, detail);
    } catch (error) {
      this.#onThrow(this, error);
    }
  }

  onUpstreamFlushed(): void {
    try {
      this.#events.onUpstreamFlushed(this);
    } catch (error) {
      this.#onThrow(this, error);
    }
  }
}
