/** The command line: `npm run native-bench [-- <case>... ] [flags]`. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cases } from './cases/index.mjs';
import { generatorNames } from './generators/index.mjs';
import { peers } from './peers/index.mjs';

const quick = { rounds: 2, seconds: 1 };

export const usage = `npm run native-bench [-- <case>... ] [flags]

A case is a name (--list shows them), a family (upload), a target of the table (target-4), or \`all\`.
Without one: the cases that the table of targets needs.

Flags:
  --rounds N       rounds, interleaved over the peers (5)
  --seconds S      seconds of load in each round, for each peer (2)
  --peers a,b      only these; \`direct\` and \`penstock\` are always among them
  --quick          ${quick.rounds} rounds of ${quick.seconds} s on a few cases: shows that it works, proves nothing
  --generator G    ${generatorNames.join(', ')}: what counts raw HTTP (wrk)
  --baseline FILE  an earlier result: exit 1 when the two disagree about who is ahead
  --out FOLDER     where latest.json, latest.md and the charts go (native-bench/results)
  --list           cases and peers of this machine
  --install-peers  installs the peers that are not Debian packages into native-bench/.peers, and ends
`;

/** A command line that cannot be understood; the message says why. */
export class UsageError extends Error {}

/**
 * Throws UsageError.
 * @param {string[]} argv
 * @returns {{ action: 'run' | 'list' | 'install' | 'help', settings: import('./types.d.ts').Settings }}
 */
export function parseSettings(argv) {
  const { values, positionals } = parse(argv);
  const isQuick = values.quick === true;
  const action =
    values.help === true
      ? 'help'
      : values.list === true
        ? 'list'
        : values['install-peers'] === true
          ? 'install'
          : 'run';
  return {
    action,
    settings: {
      cases: casesOf(positionals, isQuick),
      peers: peersOf(values.peers),
      rounds: wholeFlag('rounds', values.rounds, isQuick ? quick.rounds : 5),
      seconds: wholeFlag('seconds', values.seconds, isQuick ? quick.seconds : 2),
      generator: generatorOf(values.generator),
      outFolder: resolve(values.out ?? fileURLToPath(new URL('results', import.meta.url))),
      baselinePath: values.baseline ?? null,
    },
  };
}

/** @param {string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        peers: { type: 'string' },
        quick: { type: 'boolean' },
        generator: { type: 'string' },
        baseline: { type: 'string' },
        out: { type: 'string' },
        list: { type: 'boolean' },
        'install-peers': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/**
 * @param {readonly string[]} words
 * @param {boolean} isQuick
 */
function casesOf(words, isQuick) {
  if (words.length === 0) return cases.filter(({ targets, isQuick: isIn }) => (isQuick ? isIn : targets.length > 0));
  for (const word of words) {
    if (!cases.some((spec) => isNamed(spec, word))) throw new UsageError(`there is no case ${word}`);
  }
  return cases.filter((spec) => words.some((word) => isNamed(spec, word)));
}

/**
 * @param {import('./types.d.ts').Case} spec
 * @param {string} word
 */
function isNamed({ name, family, targets }, word) {
  return word === 'all' || word === name || word === family || targets.some((target) => word === `target-${target}`);
}

/** @param {string | undefined} text */
function peersOf(text) {
  if (text === undefined) return null;
  const names = text.split(',').filter(Boolean);
  for (const name of names) {
    if (!peers.some((peer) => peer.name === name)) throw new UsageError(`there is no peer ${name}`);
  }
  return ['direct', 'penstock', ...names];
}

/** @param {string | undefined} text */
function generatorOf(text = 'wrk') {
  const generator = generatorNames.find((name) => name === text);
  if (generator === undefined) throw new UsageError(`--generator must be one of ${generatorNames.join(', ')}`);
  return generator;
}

/**
 * @param {string} flag
 * @param {string | undefined} text
 * @param {number} fallback
 */
function wholeFlag(flag, text, fallback) {
  const value = text === undefined ? fallback : Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`--${flag} must be a whole number above 0, not ${text}`);
  return value;
}
