/**
 * Every connection sends every request, each starting at another one.
 * @type {import('../types.d.ts').Scenario['requestsOf']}
 */
export function rotated(requestCount, index) {
  return Array.from({ length: requestCount }, (_, at) => (at + index) % requestCount);
}
