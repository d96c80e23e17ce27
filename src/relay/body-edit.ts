/**
 * A change to a body on its way up: bytes [start, end) of it, none where the two are equal, are replaced; every other byte is
 * sent as it came. Of several the first comes first, and none reaches into another.
 */
export interface BodyEdit {
  readonly start: number;
  readonly end: number;
  readonly replacement: Buffer;
}

export const noEdits: readonly BodyEdit[] = [];

/** The model renamed: [start, end) is the JSON string token of its value. */
export function modelEdit(start: number, end: number, upstreamModel: string): BodyEdit {
  return { start, end, replacement: Buffer.from(JSON.stringify(upstreamModel)) };
}

/** Length of the body after the edits. */
export function editedBytes(bodyBytes: number, edits: readonly BodyEdit[]): number {
  let bytes = bodyBytes;
  for (const { start, end, replacement } of edits) bytes += replacement.length - (end - start);
  return bytes;
}
