import { noDeadline } from '../exchange/index.ts';
import type { Closer } from './closer.ts';
import type { GatewayExchange } from './gateway-exchange.ts';

/**
 * Clients that hold a place without using it: who sends a body in drips, and who does not take a response. Looked at by
 * the shard's timer, so neither costs anything a chunk. How long they may is configured, so the library, which would end
 * both after 8 to 12 s without a word (docs/acceptor.md), is kept from it.
 */
export const uploadWindowMs = 7000;
/** Well below the library's 8 s. */
const holdOpenMs = 4000;

export class SlowClients {
  readonly #closer: Closer;

  constructor(closer: Closer) {
    this.#closer = closer;
  }

  /**
   * True when the exchange was ended. `isLate`: the shard itself is behind, so that what a client has sent may not have
   * been read yet.
   */
  check(exchange: GatewayExchange, nowMs: number, isLate: boolean): boolean {
    return this.#isUploadSlow(exchange, nowMs, isLate) || this.#isStalled(exchange, nowMs);
  }

  #isUploadSlow(exchange: GatewayExchange, nowMs: number, isLate: boolean): boolean {
    // Armed as long as the body is arriving, and not while the client is paused.
    if (exchange.requestDeadlineMs === noDeadline || isLate) {
      exchange.uploadWindowMs = 0;
      return false;
    }
    const { receivedBytes } = exchange.body;
    if (exchange.uploadWindowMs === 0) {
      exchange.uploadWindowMs = nowMs;
      exchange.uploadWindowBytes = receivedBytes;
      return false;
    }
    holdOpen(exchange, nowMs);
    if (nowMs - exchange.uploadWindowMs < uploadWindowMs) return false;
    const { uploadRateMinBytes } = exchange.runtime!.config.limits;
    const bytesMin = (uploadRateMinBytes * uploadWindowMs) / 1000;
    if (uploadRateMinBytes > 0 && receivedBytes - exchange.uploadWindowBytes < bytesMin) {
      this.#closer.fail(exchange, 'request_timeout', 'The client sends its request too slowly.');
      return true;
    }
    exchange.uploadWindowMs = nowMs;
    exchange.uploadWindowBytes = receivedBytes;
    return false;
  }

  #isStalled(exchange: GatewayExchange, nowMs: number): boolean {
    if (!exchange.responseRelay.isBlocked || exchange.responseRelay.isCutting) {
      exchange.stalledSinceMs = 0;
      return false;
    }
    // Set to 0 by `Intake.onWritable` whenever the socket has taken something.
    if (exchange.stalledSinceMs === 0) exchange.stalledSinceMs = nowMs;
    if (nowMs - exchange.stalledSinceMs < exchange.runtime!.config.timeouts.downstreamWriteMs) {
      holdOpen(exchange, nowMs);
      return false;
    }
    this.#closer.close(exchange, 'client_stalled');
    return true;
  }
}

/** Pausing ends the library's timer, resuming begins it anew. Without the pause its socket would not be read again. */
function holdOpen(exchange: GatewayExchange, nowMs: number): void {
  if (nowMs - exchange.heldOpenMs < holdOpenMs || exchange.isDownstreamPaused) return;
  exchange.heldOpenMs = nowMs;
  exchange.downstream!.pause();
  exchange.downstream!.resume();
}
