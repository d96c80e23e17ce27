import { type Priority, priorityFrom } from '../exchange/index.ts';
import type { Route } from '../route/index.ts';
import type { Closer } from './closer.ts';
import { transferProblem } from './disaggregation/transfer-keys.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { ShardState } from './shard-state.ts';
import type { Shedder } from './shedder.ts';

/**
 * Settles a request's priority and asks the shedder whether there is room for it: at its head, before anything else is
 * done for it; or, where the model may have a say in the priority, when that is known.
 */
export class Gate {
  readonly #state: ShardState;
  readonly #closer: Closer;
  readonly #shedder: Shedder;

  constructor(state: ShardState, closer: Closer, shedder: Shedder) {
    this.#state = state;
    this.#closer = closer;
    this.#shedder = shedder;
  }

  /** False when the exchange has failed. */
  passHead(exchange: GatewayExchange): boolean {
    const { config, routes, listenerPriorities } = exchange.runtime!;
    const named = namedPriority(exchange, config.limits.priorityHeader);
    exchange.priority = named ?? listenerPriorities[exchange.listenerIndex]!;
    return (named === null && routes.hasPriorities) || this.#pass(exchange);
  }

  /** False when the exchange has failed. */
  passRouted(exchange: GatewayExchange, route: Route): boolean {
    const problem = transferProblem(exchange, route, this.#state.parts.slabs);
    if (problem !== null) {
      this.#closer.fail(exchange, 'body_invalid', problem);
      return false;
    }
    if (exchange.isAdmitted) return true;
    exchange.priority = route.priority ?? exchange.priority;
    return this.#pass(exchange);
  }

  #pass(exchange: GatewayExchange): boolean {
    const reason = this.#shedder.refusal(exchange.priority, exchange.runtime!.config.limits);
    exchange.isAdmitted = reason === null;
    if (reason === null) return true;
    exchange.runtime!.chains[exchange.listenerIndex]!.onRefusal(exchange);
    if (reason === 'requests_max') {
      this.#closer.fail(exchange, 'saturated', 'The gateway handles as many requests as it may.');
      return false;
    }
    // Spread out, so that those refused together do not come back together.
    exchange.retryAfterSeconds = 1 + Math.floor(this.#state.parts.random() * 3);
    this.#closer.fail(exchange, 'shed', 'The gateway is overloaded; try again later.', reason);
    return false;
  }
}

/** What a client's header says, where it is heeded. */
function namedPriority(exchange: GatewayExchange, header: string | null): Priority | null {
  if (header === null) return null;
  return priorityFrom(exchange.head.get(header.toLowerCase()) ?? '');
}
