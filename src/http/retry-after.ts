/**
 * Milliseconds that a `Retry-After` asks to wait (RFC 9110 section 10.2.3: seconds or an HTTP date); 0 when it is absent, in
 * the past or malformed. `nowUnixMs`: wall clock, for dates.
 */
export function retryAfterMs(value: string | null, nowUnixMs: number): number {
  if (value === null || value === '') return 0;
  if (/^[0-9]{1,9}$/.test(value)) return Number(value) * 1000;
  // Some providers send fractions of a second.
  if (/^[0-9]{1,9}\.[0-9]{1,6}$/.test(value)) return Math.ceil(Number(value) * 1000);
  // A date begins with the day's name; Date.parse would read many other things too.
  const at = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? 0 : Math.max(0, at - nowUnixMs);
}
