import { Api } from '../exchange/index.ts';
import type { SseTap, TokenUsage } from '../http/index.ts';
import { Fault } from '../shm/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';

// What is wrong with an answer whose status says that nothing is. Pure: PassiveHealth draws the consequences.

/** Streams of which every event is JSON, and that carry text. */
const generating: ReadonlySet<Api> = new Set([Api.chatCompletions, Api.completions, Api.messages, Api.responses]);
/** Answers that are one JSON document. */
const answeringJson: ReadonlySet<Api> = new Set([...generating, Api.embeddings, Api.rerank, Api.score]);

/** Too few events say nothing about a pace, or about a rate. */
const pacedEventsMin = 8;
const ratedEventsMin = 16;
/** An endpoint at a tenth of the pace of the others is to go; twice or three times as slow is one with more to do. */
const slowFactor = 6;
/** Faster than this it is no pace but an answer that something in between has held back. */
const paceMsMin = 1;
/** Engines of different speed are told apart below this too, but nobody waits for the slower one. */
const slowGapMsMin = 20;
/** Decoders that cut characters produce a few; emoji in the wrong place produce some more. */
const replacedShareMax = 0.25;

const blanks: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);
const openBrace = 0x7b;
const openBracket = 0x5b;

/** Of a plain answer, by its first piece. */
export function answerFault(exchange: GatewayExchange, bytes: Buffer, start: number, end: number): Fault {
  const { responseHead, facts } = exchange;
  if (responseHead.status !== 200 || !answeringJson.has(facts.api) || isCoded(exchange)) return Fault.none;
  let at = start;
  while (at < end && blanks.has(bytes[at]!)) at++;
  return at === end || bytes[at] === openBrace || bytes[at] === openBracket ? Fault.none : Fault.garbage;
}

/** Of a stream, under way or complete: no JSON in it, an error, characters that are none, a loop. */
export function streamFault(exchange: GatewayExchange): Fault {
  const fault = oddityOf(exchange.responseRelay.tap);
  if (fault === Fault.none || exchange.responseHead.status !== 200) return Fault.none;
  return generating.has(exchange.facts.api) && !isCoded(exchange) ? fault : Fault.none;
}

function oddityOf(tap: SseTap): Fault {
  const { text } = tap;
  if (tap.oddCount > 0) return Fault.garbage; // The official clients throw at the first one.
  if (tap.errorSeen && !tap.isRefusal) return Fault.error;
  if (text.repeatSeen) return Fault.repeat;
  const isRated = text.textCount >= ratedEventsMin;
  return isRated && text.replacedCount > text.textCount * replacedShareMax ? Fault.replaced : Fault.none;
}

/** Of a complete answer with status 200: it says nothing, and reports no token that it could have said it with. */
export function textlessFault(exchange: GatewayExchange, usage: TokenUsage | null): Fault {
  const { facts, head, responseRelay, isEventStream } = exchange;
  if (!generating.has(facts.api) || facts.completionTokensMax === 0 || head.isHead) return Fault.none;
  if (exchange.responseBytes === 0) return Fault.empty;
  const isTextless = isEventStream ? responseRelay.tap.text.textCount === 0 : usage !== null;
  const isUnpaid = usage === null || usage.completionTokens === 0;
  return isTextless && isUnpaid && !isCoded(exchange) ? Fault.empty : Fault.none;
}

/** A compressed answer is not looked into. */
function isCoded({ responseHead }: GatewayExchange): boolean {
  const coding = responseHead.get('content-encoding');
  return coding !== null && coding !== 'identity';
}

/** How fast tokens came. */
export interface Pace {
  readonly gapMs: number;
  /** `usualMs`: the gap at comparable endpoints, 0 when it is not known. */
  isSlow(usualMs: number): boolean;
}

/**
 * From `textSinceMs` until `untilMs`, or of a stream too short for that, from its first piece; null when that says nothing
 * about the endpoint: too few events, or a client that read slowly and so held them up.
 */
export function paceOf(exchange: GatewayExchange, untilMs: number, isOver: boolean): Pace | null {
  const { tap, wasBlocked } = exchange.responseRelay;
  if (wasBlocked || (isOver && (tap.eventCount < pacedEventsMin || exchange.isPaceKnown))) return null;
  const isFromText = exchange.textSinceMs > 0 && tap.eventCount - exchange.textSinceEvent >= pacedEventsMin;
  const fromMs = isFromText || !isOver ? exchange.textSinceMs : exchange.firstByteMs;
  const eventCount = tap.eventCount - (isFromText || !isOver ? exchange.textSinceEvent : 1);
  return paceAt((untilMs - fromMs) / Math.max(1, eventCount));
}

/** Of an answer that came whole: prompt and all, by the tokens it reports. */
export function wholePaceOf(exchange: GatewayExchange, usage: TokenUsage | null, nowMs: number): Pace | null {
  if (usage === null || usage.completionTokens < ratedEventsMin || exchange.responseRelay.wasBlocked) return null;
  return paceAt((nowMs - exchange.dispatchedMs) / usage.completionTokens);
}

function paceAt(gapMs: number): Pace {
  return {
    gapMs,
    isSlow: (usualMs) => usualMs >= paceMsMin && gapMs > usualMs * slowFactor && gapMs > slowGapMsMin,
  };
}
