/** The command line: `npm run loadtest -- <scenario> [flags]`. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { scenarios } from './scenarios/index.mjs';

export const usage = `npm run loadtest -- <scenario> [flags]

Scenarios:
${scenarios.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`).join('\n')}

Flags:
  --url URL          target, http only; without it three simulated engines and a gateway are started and checked after
  --model NAME       model named in the bodies (demo-model)
  --duration S       seconds of measuring, each repeat
  --repeat N         measure so often, against the same target (1); a baseline is held against the median of all slices
  --connections N    connections of autocannon; conversations, streams or slow readers where the notes say so
  --rate R           requests a second, of \`stream\` streams a second; 0 sends as fast as answers come
  --json FILE        result (loadtest/results/<scenario>-<time>.json); the plot goes beside it as .svg
  --baseline FILE    earlier result; exit 1 when p50, p99 or CPU per request grew by more than the threshold
  --threshold X      allowed growth (0.2); growth inside the spread of the two runs is none
  --keep             leave the started gateway and engines up until Ctrl-C
`;

/** A command line that cannot be understood; the message says why. */
export class UsageError extends Error {}

/**
 * Null when no scenario is named. Throws UsageError.
 * @param {string[]} argv
 * @returns {{ scenario: import('./types.d.ts').Scenario, settings: import('./types.d.ts').Settings } | null}
 */
export function parseSettings(argv) {
  const { values, positionals } = parse(argv);
  const [name, ...rest] = positionals;
  if (name === undefined || values.help === true) return null;
  const scenario = scenarios.find((candidate) => candidate.name === name);
  if (scenario === undefined) throw new UsageError(`there is no scenario ${name}`);
  if (rest.length > 0) throw new UsageError(`one scenario at a time, not also ${rest.join(' ')}`);
  const settings = {
    scenario: name,
    url: values.url === undefined ? null : originOf(values.url),
    model: values.model ?? 'demo-model',
    durationS: numberFlag('duration', values.duration, scenario.durationS, 1),
    connections: wholeFlag('connections', values.connections, scenario.connections, 1),
    rate: wholeFlag('rate', values.rate, scenario.rate, scenario.rateMin),
    jsonPath: values.json ?? defaultJsonPath(name),
    baselinePath: values.baseline ?? null,
    threshold: numberFlag('threshold', values.threshold, 0.2, 0),
    isKept: values.keep === true,
    repeatCount: wholeFlag('repeat', values.repeat, 1, 1),
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
        url: { type: 'string' },
        model: { type: 'string' },
        duration: { type: 'string' },
        connections: { type: 'string' },
        rate: { type: 'string' },
        json: { type: 'string' },
        baseline: { type: 'string' },
        threshold: { type: 'string' },
        repeat: { type: 'string' },
        keep: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} text */
function originOf(text) {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.protocol !== 'http:') throw new UsageError(`--url must be an http:// URL, not ${text}`);
  return url.origin;
}

/**
 * @param {string} flag
 * @param {string | undefined} text
 * @param {number} fallback
 * @param {number} min
 */
function numberFlag(flag, text, fallback, min) {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < min) {
    throw new UsageError(`--${flag} must be a number of at least ${min}, not ${text}`);
  }
  return value;
}

/**
 * @param {string} flag
 * @param {string | undefined} text
 * @param {number} fallback
 * @param {number} min
 */
function wholeFlag(flag, text, fallback, min) {
  const value = numberFlag(flag, text, fallback, min);
  if (!Number.isInteger(value)) throw new UsageError(`--${flag} must be a whole number, not ${text}`);
  return value;
}

/** @param {string} scenario */
function defaultJsonPath(scenario) {
  const time = new Date().toISOString().replace(/[:.]/g, '-');
  return join(fileURLToPath(new URL('results/', import.meta.url)), `${scenario}-${time}.json`);
}
