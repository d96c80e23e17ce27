import { Api } from '../../exchange/index.ts';
import { MemberSpans } from '../../http/index.ts';
import type { Route } from '../../route/index.ts';
import type { GatewayExchange } from '../gateway-exchange.ts';
import type { Runtime } from '../runtime.ts';

/**
 * Members by which engines hand prompts over. They name hosts and blocks of memory, so only the gateway may write them: a
 * client that could would read other clients' prompts, or have engines connect to where it likes.
 */
const transferKeys = [
  'kv_transfer_params',
  'bootstrap_host',
  'bootstrap_port',
  'bootstrap_room',
  'bootstrap_pair_key',
  'disaggregated_params',
] as const;

/** Members that are other in the request for the prompt, or that say whether a request can be split at all. */
const memberNames = [
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'min_tokens',
  'prompt',
  'n',
  'best_of',
  'echo',
  'prompt_logprobs',
  'use_beam_search',
] as const;

export function makeSpans(): MemberSpans {
  return new MemberSpans(memberNames, transferKeys);
}

/** Whether a body has to be looked through for transfer keys: some pool it could go to is disaggregated. */
export function watchesTransfer({ api }: GatewayExchange['facts'], runtime: Runtime): boolean {
  return runtime.isSplit && (api !== Api.other || leadsToSplit(runtime.routes.defaultRoute, runtime));
}

/** Engines read forms there, and nowhere else, whatever a request calls its body. */
export function takesForms({ api }: GatewayExchange['facts']): boolean {
  return api === Api.audio || api === Api.images;
}

/** Requests on `route` may reach a disaggregated pool. */
export function leadsToSplit(route: Route | null, { pools }: Runtime): boolean {
  return route !== null && route.targets.some(({ poolIndex }) => pools[poolIndex]!.split !== null);
}

/** What is wrong with a request for a disaggregated pool; null: nothing. */
export function transferProblem(exchange: GatewayExchange, route: Route): string | null {
  const { head, runtime, spans } = exchange;
  if (!runtime!.isSplit || !head.hasBody || !leadsToSplit(route, runtime!)) return null;
  if (spans === null) return null; // A form: not what engines read these members of.
  if (spans.forbiddenName !== '') return `The member ${spans.forbiddenName} is not a client's to set.`;
  if (spans.isAmbiguous) return 'A member of the request body stands there twice.';
  return null;
}
