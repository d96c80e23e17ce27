import { mixPair } from './hash.ts';

/**
 * Stable homes for prefixes nobody holds: highest random weight of (root, endpoint). A pure function of both, so gateways
 * that share nothing, and one that has just started, send a cold prefix to the same endpoint; one that comes or goes moves
 * only the prefixes it wins or held. Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6(1), 1998.
 */
export class Rendezvous {
  /** Endpoint indexes, best and second best; -1 when there are fewer candidates. */
  first = -1;
  second = -1;

  /** @hot per pick. Ranks the first `count` of `candidates`; `hashes` are of the endpoints' names, by endpoint index. */
  rank(root: number, candidates: Int32Array, count: number, hashes: readonly number[]): void {
    let firstWeight = -1;
    let secondWeight = -1;
    this.first = -1;
    this.second = -1;
    for (let turn = 0; turn < count; turn++) {
      const index = candidates[turn]!;
      const weight = mixPair(root, hashes[index]!);
      if (weight > firstWeight) {
        this.second = this.first;
        secondWeight = firstWeight;
        this.first = index;
        firstWeight = weight;
      } else if (weight > secondWeight) {
        this.second = index;
        secondWeight = weight;
      }
    }
  }
}
