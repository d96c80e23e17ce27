import { Api, type Exchange } from '../exchange/index.ts';
import type { SseTap } from '../http/index.ts';

/**
 * Whether an event stream whose HTTP response ended in order is complete by its own word too. An engine that dies behind a
 * proxy of its own, or gives up half way, ends its response like any other; the official clients take that for the end.
 * `promisesDone`: the engine ends every stream of completions with `[DONE]`. A stream that told of an error is not judged.
 */
export function isStreamWhole(exchange: Exchange, tap: SseTap, promisesDone: boolean): boolean {
  if (!exchange.isEventStream || exchange.responseHead.status !== 200 || tap.errorSeen) return true;
  switch (exchange.facts.api) {
    case Api.chatCompletions:
    case Api.completions:
      // Half an event is dropped by whoever reads it, with the finish reason in it.
      return tap.doneSeen || (!promisesDone && tap.finishSeen && tap.atEventBoundary);
    case Api.messages:
    case Api.responses:
      return tap.lastEventSeen;
    default:
      return true;
  }
}
