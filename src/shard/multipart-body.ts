import { boundaryOf, findMultipartModel } from '../http/index.ts';
import type { SlabPool } from '../shm/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';

/** Finds the model in a form that is complete; without one, or without a boundary, there is none. */
export function readMultipart({ body, facts, head }: GatewayExchange, slabs: SlabPool): void {
  const boundary = boundaryOf(head.get('content-type') ?? '');
  if (boundary === null) return;
  const pieces: Buffer[] = [];
  for (let index = 0; index < body.slabCount; index++) {
    pieces.push(slabs.bytes(body.slab(index)).subarray(0, body.filledBytes(index, slabs)));
  }
  facts.model = findMultipartModel(pieces, boundary);
}
