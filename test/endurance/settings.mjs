/** The command line: `npm run soak -- <scenario>`. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { scenarios } from './scenarios/index.mjs';

export const usage = `npm run soak -- <scenario> [flags]

Scenarios:
${scenarios.map(({ name, summary }) => `  ${name.padEnd(13)} ${summary}`).join('\n')}

Flags:
  --exchanges N   of chaos (200000)
  --minutes N     of mixed (10)
  --seconds N     of reload, upgrade, restart (60)
  --count N       samples of each phase of aborts; clients of slow-readers; connections of idle
  --seed N        of what is drawn; printed with every result
  --save          keep the result in test/endurance/results/, from which docs/resilience.md is written
  --json FILE     where the result goes instead; the plot goes beside it as .svg
  --docs          write docs/resilience.md from the results that were kept, and run nothing
`;

/** A command line that cannot be understood; the message says why. */
export class UsageError extends Error {}

/**
 * `list` when no scenario is named.
 * @param {string[]} argv
 * @returns {'list' | 'docs' | { scenario: import('./types.d.ts').Scenario, settings: import('./types.d.ts').Settings }}
 */
export function parseSettings(argv) {
  const { values, positionals } = parse(argv);
  if (values.docs === true) return 'docs';
  const [name, ...rest] = positionals;
  if (name === undefined || values.help === true) return 'list';
  const scenario = scenarios.find((candidate) => candidate.name === name);
  if (scenario === undefined) throw new UsageError(`there is no scenario ${name}`);
  if (rest.length > 0) throw new UsageError(`one scenario at a time, not also ${rest.join(' ')}`);
  const kept = values.save === true ? '' : 'last/';
  const settings = {
    scenario: name,
    exchanges: numberOf('exchanges', values.exchanges, 200_000, 1),
    minutes: numberOf('minutes', values.minutes, 10, 0.01),
    seconds: numberOf('seconds', values.seconds, 60, 1),
    count: numberOf('count', values.count, 0, 1),
    seed: numberOf('seed', values.seed, Math.floor(Math.random() * 1e9), 0),
    jsonPath: values.json ?? fileURLToPath(new URL(`results/${kept}${name}.json`, import.meta.url)),
  };
  return { scenario, settings };
}

/** @param {string[]} argv */
function parse(argv) {
  try {
    return parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        exchanges: { type: 'string' },
        minutes: { type: 'string' },
        seconds: { type: 'string' },
        count: { type: 'string' },
        seed: { type: 'string' },
        save: { type: 'boolean' },
        json: { type: 'string' },
        docs: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} flag @param {string | undefined} text @param {number} fallback @param {number} min */
function numberOf(flag, text, fallback, min) {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < min) {
    throw new UsageError(`--${flag} must be a number of at least ${min}, not ${text}`);
  }
  return value;
}
