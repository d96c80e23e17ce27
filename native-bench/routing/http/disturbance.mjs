/** Somebody is killed in the middle of a run: which requests that costs, and how soon caches are hit as before. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Requests of one look at the hit rate: their mean stands for the moment. */
const windowCount = 20;
const afterCount = 40;
/** Back is this share of the hit rate before. */
const backRatio = 0.95;

/**
 * @typedef {object} Aftermath
 * @property {number} exposed requests that were with whoever was killed, by then without their end
 * @property {number} failures
 * @property {number} unexplained failures of requests that were not with it
 * @property {number} hitBefore of the quarter of the run before
 * @property {number} hitAfter of the first 40 requests after
 * @property {number} hitLowest of any 20 requests in a row after
 * @property {number} backAfter after so many requests the last 20 hit 95 % of what was hit before, and 20 had hit least
 *   before that; -1 when they never did
 */

/**
 * @param {import('./cases.mjs').Disturbance} disturbance
 * @param {{ gateway: import('./fleet.mjs').Gateway, engines: import('./fleet.mjs').Engines, atMs: number }} scene
 * @returns {Promise<(exchanges: readonly import('./traffic.mjs').Exchange[]) => Aftermath>}
 */
export async function disturb({ who }, { gateway, engines, atMs }) {
  const startMs = performance.now();
  await sleep(atMs);
  let fromMs = performance.now() - startMs;
  if (who === 'engine') {
    await engines.restart(0);
  } else {
    const pid = await gateway.ready();
    fromMs = performance.now() - startMs;
    process.kill(pid, 'SIGKILL');
    // The page of the process that has just died may still come.
    while ((await gateway.ready()) === pid) await sleep(5);
  }
  const untilMs = performance.now() - startMs;
  return (exchanges) => aftermathOf(exchanges, who === 'engine' ? 'e0' : '', fromMs, untilMs);
}

/**
 * @param {readonly import('./traffic.mjs').Exchange[]} exchanges
 * @param {string} engine the name of the one that was killed; empty for the gateway
 * @param {number} fromMs when it was killed
 * @param {number} untilMs when another was there
 * @returns {Aftermath}
 */
export function aftermathOf(exchanges, engine, fromMs, untilMs) {
  /** Under way when it was killed, or sent while nobody was there. @param {import('./traffic.mjs').Exchange} exchange */
  const isExposed = ({ sentMs, endMs, endpoint }) =>
    sentMs <= untilMs && endMs >= fromMs && (engine === '' || endpoint === engine || endpoint === '');
  const failed = exchanges.filter(({ failure }) => failure !== '');
  const whole = exchanges.filter(({ failure }) => failure === '');
  const first = whole.findIndex(({ dueMs }) => dueMs > fromMs);
  const before = hitOf(whole.slice(Math.floor(first / 2), first));
  let lowest = 1;
  let backAfter = -1;
  for (let at = first; at + windowCount <= whole.length; at++) {
    const hit = hitOf(whole.slice(at, at + windowCount));
    if (hit < lowest) {
      lowest = hit;
      backAfter = -1;
    }
    if (backAfter < 0 && hit >= backRatio * before) backAfter = at + windowCount - first;
  }
  return {
    exposed: exchanges.filter(isExposed).length,
    failures: failed.length,
    unexplained: failed.filter((exchange) => !isExposed(exchange)).length,
    hitBefore: before,
    hitAfter: hitOf(whole.slice(first, first + afterCount)),
    hitLowest: lowest,
    backAfter,
  };
}

/** @param {readonly import('./traffic.mjs').Exchange[]} exchanges */
function hitOf(exchanges) {
  const promptTokens = exchanges.reduce((sum, one) => sum + one.promptTokens, 0);
  return exchanges.reduce((sum, one) => sum + one.cachedTokens, 0) / promptTokens;
}
