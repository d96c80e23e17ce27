/**
 * A model renamed on its way up: the bytes [start, end) of the body, the JSON string token of the model's value, are
 * replaced; every other byte is sent as it came.
 */
export interface ModelSplice {
  readonly start: number;
  readonly end: number;
  readonly replacement: Buffer;
}

export function modelSplice(start: number, end: number, upstreamModel: string): ModelSplice {
  return { start, end, replacement: Buffer.from(JSON.stringify(upstreamModel)) };
}

/** Length of the body after the splice. */
export function splicedBytes(bodyBytes: number, splice: ModelSplice | null): number {
  return splice === null ? bodyBytes : bodyBytes - (splice.end - splice.start) + splice.replacement.length;
}
