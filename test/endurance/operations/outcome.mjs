/** What an operation under load found, in the form in which the other scenarios tell it. */
import { readFileSync } from 'node:fs';
import { Checks } from '../checks.mjs';

/** @typedef {{ text: string, isKept: boolean, seen: string | number }} Promise_ */
/** @typedef {{ promises: Promise_[], figures: Record<string, unknown> }} Outcome */

/** Whether the kernel hands connections that wait at a closing listener to another one of the port. */
export function migratesRequests() {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_migrate_req', 'utf8').trim() === '1';
  } catch {
    return false;
  }
}

/**
 * @param {{ name: string, summary: string, run: (options: { seconds: number }) => Promise<Outcome> }} operation
 * @returns {import('../types.d.ts').Scenario}
 */
export function scenarioOf({ name, summary, run }) {
  return {
    name,
    summary,
    run: async ({ settings: { seconds } }) => {
      const { promises, figures } = await run({ seconds });
      const checks = new Checks();
      for (const { text, isKept, seen } of promises) checks.promise(text, isKept, seen);
      const told = Object.entries({ ...figures, tcp_migrate_req: migratesRequests() ? 1 : 0 });
      return {
        figures: Object.fromEntries(told.map(([key, value]) => [key, textOf(value)])),
        checks: checks.list,
        samples: [],
        notes: [],
      };
    },
  };
}

/** @param {unknown} value @returns {string | number} */
function textOf(value) {
  if (typeof value === 'number') return value;
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(textOf).join('; ');
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.entries(value)
    .map(([key, each]) => `${key} ${textOf(each)}`)
    .join(', ');
}
