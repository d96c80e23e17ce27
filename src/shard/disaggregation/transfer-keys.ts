import { Api } from '../../exchange/index.ts';
import { MemberSpans } from '../../http/index.ts';
import type { Route } from '../../route/index.ts';
import type { SlabPool } from '../../shm/index.ts';
import type { GatewayExchange } from '../gateway-exchange.ts';
import type { Runtime } from '../runtime.ts';
import { memberBytes } from './member-text.ts';

/**
 * Members by which engines hand prompts over. They name hosts and blocks of memory, so only the gateway may write them: a
 * client that could would read other clients' prompts, or have engines connect to where it likes.
 */
const transferKeys = [
  'kv_transfer_params',
  'ec_transfer_params',
  'bootstrap_host',
  'bootstrap_port',
  'bootstrap_room',
  'bootstrap_pair_key',
  'disaggregated_params',
] as const;

/**
 * Members whose own members vLLM puts where it keeps `kv_transfer_params`, too: the second is that of `/inference/v1/generate`, with
 * `extra_args` in it. Bytes they may have in all: they are parsed.
 */
const containerNames = ['vllm_xargs', 'sampling_params'] as const;
const containerBytesMax = 64 * 1024;

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
  'tool_choice',
  ...containerNames,
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
export function transferProblem(exchange: GatewayExchange, route: Route, slabs: SlabPool): string | null {
  const { head, runtime, spans, body } = exchange;
  if (!runtime!.isSplit || !head.hasBody || !leadsToSplit(route, runtime!)) return null;
  if (spans === null) return null; // A form: not what engines read these members of.
  if (spans.forbiddenName !== '') return `The member ${spans.forbiddenName} is not a client's to set.`;
  if (spans.isAmbiguous) return 'A member of the request body stands there twice.';
  for (const name of containerNames) {
    const start = spans.startOf(name);
    const end = spans.endOf(name);
    if (start < 0) continue;
    if (end - start > containerBytesMax) return `The member ${name} is longer than ${containerBytesMax} bytes.`;
    const problem = problemIn(memberBytes(body, slabs, start, end));
    if (problem !== null) return `The member ${name} ${problem}.`;
  }
  return null;
}

/** The scanner tells of members of the root only. */
function problemIn(bytes: Buffer): string | null {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch {
    return 'is not valid JSON';
  }
  const name = transferKeyIn(value);
  return name === null ? null : `has ${name} in it, which is not a client's to set`;
}

/** At any depth, which the scanner has bounded. */
function transferKeyIn(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return null;
  for (const [key, nested] of Object.entries(value)) {
    if ((transferKeys as readonly string[]).includes(key)) return key;
    const found = transferKeyIn(nested);
    if (found !== null) return found;
  }
  return null;
}
