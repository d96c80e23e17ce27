/**
 * What is compared, on what, and what is wanted of it. The numbers E1 to E15 and the limits were set before the first run;
 * those left out need threads, machines or bodies, which a simulation of policies has not.
 *
 * @typedef {object} Row
 * @property {string} label
 * @property {import('../measures.mjs').Measures} measures mean over the seeds
 * @property {Record<string, number>} extra figures of this experiment only
 *
 * @typedef {object} Check
 * @property {string} what
 * @property {number} value
 * @property {'<=' | '>='} relation
 * @property {number} limit
 *
 * @typedef {object} Outcome
 * @property {Row[]} rows
 * @property {Check[]} checks
 * @property {Record<string, number>} bounds
 * @property {{ title: string, x: string, y: string, series: { name: string, points: [number, number][] }[] } | null} curve
 *
 * @typedef {object} Experiment
 * @property {string} name
 * @property {string} title
 * @property {(scope: { seeds: readonly number[], isQuick: boolean }) => Outcome} run
 */
import { hitRate, knee } from './b2b.mjs';
import { restart, stampede } from './disturbances.mjs';
import { agents, chatLowLoad, conversation, synthetic, thirtyTimes, unshared } from './comparisons.mjs';
import { sharing } from './sharing.mjs';

/** @type {readonly Experiment[]} */
export const experiments = [
  { name: 'E1', title: 'hit rate, b2b at 12 requests a second', run: hitRate },
  { name: 'E2', title: 'highest rate at which TTFT p90 stays within 1 s, b2b', run: knee },
  { name: 'E3', title: 'Mooncake-like conversation, 1.4 times its rate, 1.5 M tokens of KV cache', run: conversation },
  { name: 'E4', title: 'Mooncake-like synthetic, 1.6 times its rate', run: synthetic },
  { name: 'E5', title: 'agents of many turns, 0.16 sessions a second', run: agents },
  { name: 'E6', title: 'interactive chat, 8B model, 10 sessions a second', run: chatLowLoad },
  { name: 'sharing', title: 'several routers: one index, private ones, synced ones', run: sharing },
  { name: 'E12', title: 'an endpoint restarts, b2b at 10 requests a second', run: restart },
  { name: 'E13', title: '500 equal cold prompts of 30,000 tokens in a second', run: stampede },
  { name: 'E14', title: 'nothing is shared: lengths of Azure code, 60 requests a second', run: unshared },
  { name: 'E15', title: 'one prompt of 159 tokens thirty times, three endpoints', run: thirtyTimes },
];
