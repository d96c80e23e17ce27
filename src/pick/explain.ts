import type { KvPicker } from './kv/kv-picker.ts';
import type { Comparison } from './kv/kv-policy.ts';
import type { Picker } from './pickers.ts';
import type { PoolView } from './pool-view.ts';

/** Of the whole value: about twenty candidates. Proxies and clients bound a response's head at 8 KiB or more. */
const lengthMax = 2048;

/** RFC 9651 section 3.3.2: at most twelve digits before the point, three behind it. */
const decimalMax = 999_999_999_999;

export interface PickedRequest {
  /** By its bytes; -1 where no prompt was looked at. */
  readonly estimatedTokens: number;
}

/**
 * Why endpoint `index` was picked, for the response field `x-penstock-pick`: an RFC 9651 list, the chosen endpoint first, then
 * the other candidates, best score first, as many as there is room for.
 *
 *     "http://10.0.0.1:8000";picker=kv_aware;reason=least;candidates=2;prompt=7200;matched=6900;inflight=4;score=0.12,
 *     "http://10.0.0.2:8000";matched=0;inflight=2;score=0.934
 *
 * Right behind `pickEndpoint`, before anything else looks at the pool. Endpoint URLs have no credentials in them
 * (config/address). Makes strings: only where the configuration asks for it.
 */
export function explainPick(
  view: PoolView,
  picker: Picker,
  kv: KvPicker | null,
  pickerName: string,
  request: PickedRequest,
  index: number,
): string {
  const others = Array.from(view.candidates.subarray(0, view.count));
  const at = others.indexOf(index);
  // One on probation is taken before anybody compares.
  const comparison = at < 0 ? null : picker.comparison;
  if (at >= 0) others.splice(at, 1);
  const reason = at < 0 ? 'probe' : comparison?.reason;
  let text = `"${view.endpoints[index]!.url}";picker=${pickerName}`;
  if (reason !== undefined) text += `;reason=${reason}`;
  text += `;candidates=${view.count}`;
  const prompted = kv !== null && request.estimatedTokens >= 0 ? kv : null;
  if (prompted !== null) text += `;prompt=${request.estimatedTokens}`;
  text += figures(view, prompted, comparison, index, 1);
  if (comparison !== null) sortByScore(others, comparison);
  for (const other of others) {
    const member = `, "${view.endpoints[other]!.url}"${figures(view, prompted, comparison, other, 0)}`;
    if (text.length + member.length > lengthMax) break;
    text += member;
  }
  return text;
}

/** As the picker saw them: `own` requests in flight there are the one that is explained. */
function figures(
  view: PoolView,
  kv: KvPicker | null,
  comparison: Comparison | null,
  index: number,
  own: number,
): string {
  const { slot } = view.endpoints[index]!;
  let text = '';
  if (kv !== null) text += `;matched=${kv.matchedTokens(index)};pending=${view.pendingTokens(slot)}`;
  const loadSeconds = comparison === null ? 0 : (kv?.loadSeconds(index) ?? 0);
  if (loadSeconds > 0) text += `;load=${decimal(loadSeconds)}`;
  text += `;inflight=${view.inflight(slot) - own};tokens=${view.inflightTokens(slot)}`;
  const score = comparison === null ? Number.NaN : comparison.scores[index]!;
  if (!Number.isNaN(score)) text += `;score=${decimal(score)}`;
  return text;
}

/** Those left out last. */
function sortByScore(indexes: number[], { scores, highestWins }: Comparison): void {
  const rank = (index: number): number => {
    const score = scores[index]!;
    if (Number.isNaN(score)) return Number.POSITIVE_INFINITY;
    return highestWins ? -score : score;
  };
  // Two that were left out differ by NaN, which is no order.
  indexes.sort((one, other) => (rank(one) === rank(other) ? one - other : rank(one) - rank(other)));
}

function decimal(value: number): string {
  return String(Math.round(Math.min(decimalMax, value) * 1000) / 1000);
}
