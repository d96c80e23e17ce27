import { randomBytes } from 'node:crypto';
import type { MemberSpans } from '../../http/index.ts';
import { type BodyEdit, modelEdit, noEdits } from '../../relay/index.ts';
import type { GatewayExchange } from '../gateway-exchange.ts';
import { LegState, type PrefillLeg } from './prefill-leg.ts';

// What the two requests say that the client's did not. Pure. Values are replaced where they stand, and new members come last: no
// name stands twice, and not a byte of messages, tools or schemas is touched, so both endpoints make the same tokens of them.

/** As vLLM's NIXL connector wants it of whoever asks for the prompt alone. */
const prefillParams =
  '"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}';

/** What a member becomes in the request for the prompt: one token, at once. Members that are not there stay so. */
const prefillValues: readonly (readonly [name: string, value: string])[] = [
  ['stream', 'false'],
  ['stream_options', 'null'],
  ['max_tokens', '1'],
  ['max_completion_tokens', '1'],
  ['min_tokens', '0'],
];

/** vLLM, first step. */
export function prefillEdits(spans: MemberSpans): BodyEdit[] {
  const edits: BodyEdit[] = [];
  for (const [name, value] of prefillValues) {
    const start = spans.startOf(name);
    if (start >= 0) edits.push({ start, end: spans.endOf(name), replacement: Buffer.from(value) });
  }
  const isBounded = spans.startOf('max_tokens') >= 0;
  return [...edits, lastMembers(spans, `${isBounded ? '' : '"max_tokens":1,'}${prefillParams}`)];
}

/** Members behind all others: complete, with a comma between two. */
export function lastMembers(spans: MemberSpans, members: string | Buffer): BodyEdit {
  const at = spans.rootEnd;
  const replacement = Buffer.concat([Buffer.from(spans.isEmpty ? '' : ','), Buffer.from(members as string)]);
  return { start: at, end: at, replacement };
}

/** vLLM, second step: the object the first was answered with, byte by byte. */
export function decodeMembers(params: Buffer): Buffer {
  return Buffer.concat([Buffer.from('"kv_transfer_params":'), params]);
}

/** SGLang, both requests. */
export function bootstrapMembers(host: string, port: number, room: string): Buffer {
  return Buffer.from(`"bootstrap_host":${JSON.stringify(host)},"bootstrap_port":${port},"bootstrap_room":${room}`);
}

/**
 * Digits of a number below 2^62: an int64 at the engine, which may count on from it, and more than a double holds. Not to be
 * guessed: who knows the room of another request could answer it.
 */
export function drawRoom(): string {
  return (randomBytes(8).readBigUInt64BE() >> 2n).toString();
}

/** Of the request for the prompt. */
export function legEdits(exchange: GatewayExchange, { members }: PrefillLeg): readonly BodyEdit[] {
  const spans = exchange.spans!;
  const edits = members === null ? prefillEdits(spans) : [lastMembers(spans, members)];
  return inOrder([...modelEdits(exchange), ...edits]);
}

/** Of the request whose answer the client gets, in any pool. */
export function bodyEdits(exchange: GatewayExchange): readonly BodyEdit[] {
  const { leg, spans } = exchange;
  const edits = modelEdits(exchange);
  if (leg === null || leg.state === LegState.none || leg.members === null) return edits;
  return inOrder([...edits, lastMembers(spans!, leg.members)]);
}

function modelEdits({ facts, route, targetIndex }: GatewayExchange): readonly BodyEdit[] {
  const { upstreamModel } = route!.targets[targetIndex]!;
  if (upstreamModel === null || facts.modelStart < 0 || upstreamModel === facts.model) return noEdits;
  return [modelEdit(facts.modelStart, facts.modelEnd, upstreamModel)];
}

function inOrder(edits: BodyEdit[]): readonly BodyEdit[] {
  return edits.sort((a, b) => a.start - b.start || a.end - b.end);
}
