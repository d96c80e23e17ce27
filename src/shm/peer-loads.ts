/**
 * What other gateways have at each endpoint, as they said last: pickers add it to what this one has there. It bounds nothing,
 * since it is always a little old. Control writes; 0 everywhere as long as nobody shares. Read without
 * Atomics, as every pick asks for every endpoint (prefix-index says why).
 *
 * | Word of an endpoint slot | Holds                                                     |
 * | ------------------------ | --------------------------------------------------------- |
 * | 0 inflight               | requests                                                  |
 * | 1 inflightTokens         | tokens reserved for them                                  |
 * | 2 pendingTokens          | prompt tokens to compute of those without a byte yet      |
 */
const strideWords = 4;
const inflightWord = 0;
const tokensWord = 1;
const pendingWord = 2;

export interface PeerLoad {
  inflight: number;
  inflightTokens: number;
  pendingTokens: number;
}

export function peerLoadBytes(endpointCountMax: number): number {
  return endpointCountMax * strideWords * 4;
}

export class PeerLoads {
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  /** Control's. Below 2^31 each. */
  set(slot: number, load: Readonly<PeerLoad>): void {
    const at = slot * strideWords;
    Atomics.store(this.#words, at + inflightWord, load.inflight);
    Atomics.store(this.#words, at + tokensWord, load.inflightTokens);
    Atomics.store(this.#words, at + pendingWord, load.pendingTokens);
  }

  inflight(slot: number): number {
    return this.#words[slot * strideWords + inflightWord]!;
  }

  inflightTokens(slot: number): number {
    return this.#words[slot * strideWords + tokensWord]!;
  }

  pendingTokens(slot: number): number {
    return this.#words[slot * strideWords + pendingWord]!;
  }
}
