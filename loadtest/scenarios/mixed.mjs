import { chatRequest } from '../bodies.mjs';

/**
 * Agents at work: each conversation comes back with nearly the same long context. Sizes follow the quantiles 0.8 MB p50,
 * 2.1 MB p90, 3.4 MB p99, one conversation for each 2 %.
 */
const conversationCount = 50;
/** Share of a later turn that is the turn before. */
const sharedPrefixRatio = 0.99;
const turnCount = 2;
/** [quantile, bytes]; between two of them sizes grow exponentially. The least is a guess: only the upper half is known. */
const sizeQuantiles = /** @type {const} */ ([
  [0, 200_000],
  [0.5, 800_000],
  [0.9, 2_100_000],
  [0.99, 3_400_000],
]);

/** @param {number} quantile */
function bytesAt(quantile) {
  let [fromQuantile, fromBytes] = /** @type {readonly [number, number]} */ (sizeQuantiles[0]);
  for (const [toQuantile, toBytes] of sizeQuantiles.slice(1)) {
    if (quantile <= toQuantile) {
      const share = (quantile - fromQuantile) / (toQuantile - fromQuantile);
      return Math.round(fromBytes * (toBytes / fromBytes) ** share);
    }
    [fromQuantile, fromBytes] = [toQuantile, toBytes];
  }
  return fromBytes;
}

/** @type {import('../types.d.ts').Scenario} */
export const mixed = {
  name: 'mixed',
  summary: 'agents: 0.8 MB p50 to 3.4 MB p99, 99 % shared prefix a conversation, every fourth one streams',
  engineSpeed: 0,
  connections: 8,
  rate: 16,
  notes: [
    'Generator and engines cost more CPU than the gateway on bodies of megabytes: the request rate is no ceiling of it.',
    'Latency includes the simulated engine, which hashes, parses and tokenises each body: compare runs, not with zero.',
  ],
  buildRequests: (model) =>
    Array.from({ length: conversationCount * turnCount }, (_, index) => {
      const conversation = Math.floor(index / turnCount);
      const turn = index % turnCount;
      // A fixed shuffle (17 and 50 share no factor), so that a connection does not send all the small ones first.
      const rank = (conversation * 17) % conversationCount;
      const lastBytes = bytesAt((rank + 0.5) / conversationCount);
      return chatRequest({
        model,
        bytes: Math.round(lastBytes * sharedPrefixRatio ** (turnCount - 1 - turn)),
        seed: conversation + 1,
        tokens: 16,
        isStream: conversation % 4 === 3,
        isModelLast: conversation % 2 === 1,
        question: `Turn ${turn}: what is left to do?`,
      });
    }),
  // A conversation belongs to one connection, its turns in order.
  requestsOf: (requestCount, index, count) =>
    Array.from({ length: requestCount }, (_, at) => at).filter(
      (at) => Math.floor(at / turnCount) % Math.min(count, conversationCount) === index % conversationCount,
    ),
  hasOpenLoop: false,
};
