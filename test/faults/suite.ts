import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { faults } from './catalogue.ts';
import { environment, type SuiteResult } from './result.ts';
import type { RowResult } from './row.ts';
import { missingRows, rows } from './rows.ts';
import { runApart, runRow } from './run-row.ts';
import { pageText } from './page.ts';
import { Simulated } from './simulated.ts';

const usage = `npm run faults [-- F05 F2x ...] [--json FILE] [--docs]

  F05, F2x     only these; x is any digit
  --json FILE  writes the results
  --docs       takes the results over into docs/faults.md

Exit code 1: a promise is broken.
`;

const latestPath = fileURLToPath(new URL('results/latest.json', import.meta.url));
const pagePath = fileURLToPath(new URL('../../docs/faults.md', import.meta.url));

const marks = { kept: 'kept   ', broken: 'BROKEN ', 'not yet': 'not yet', 'not run': 'not run' } as const;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function isPicked(id: string, picks: readonly string[]): boolean {
  return picks.length === 0 || picks.some((pick) => new RegExp(`^${pick.replaceAll(/x/gi, '\\d')}$`, 'i').test(id));
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      docs: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
      // The suite calls itself with this, in a namespace of its own.
      inside: { type: 'boolean' },
    },
  });
  const picked = faults.filter(({ id }) => isPicked(id, positionals));
  if (values.help === true || picked.length === 0) {
    process.stdout.write(usage);
    return picked.length === 0 ? 1 : 0;
  }
  const startMs = performance.now();
  const calm = await Simulated.start('calm', ['--model', 'calm', '--speed', '10']);
  const results: RowResult[] = [];
  try {
    for (const { id, fault } of picked) {
      const result = await resultOf(id, calm.url, values.inside === true);
      results.push(result);
      print(
        `${result.id}  ${marks[result.verdict]}  ${result.seconds.toFixed(1).padStart(5)} s  ${fault}: ${result.seen}`,
      );
      for (const broken of result.broken) print(`       broken: ${broken}`);
    }
  } finally {
    await calm.stop();
  }
  const count = (verdict: RowResult['verdict']): number => results.filter((each) => each.verdict === verdict).length;
  print(
    `${count('kept')} kept, ${count('broken')} broken, ${count('not yet')} not yet, ${count('not run')} not run in ${Math.round((performance.now() - startMs) / 1000)} s`,
  );
  const suite: SuiteResult = { ...environment(), rows: results };
  if (values.json !== undefined) save(values.json, suite);
  if (values.docs === true) takeOver(suite);
  return count('broken') > 0 ? 1 : 0;
}

function resultOf(id: string, calmUrl: string, isInside: boolean): RowResult | Promise<RowResult> {
  const missing = missingRows.find((row) => row.id === id);
  if (missing !== undefined) {
    return { id, verdict: 'not yet', seconds: 0, seen: `needs ${missing.needs}`, broken: [], calm: null };
  }
  const row = rows.find((each) => each.id === id)!;
  return row.isApart === true && !isInside ? runApart(row) : runRow(row, calmUrl);
}

function save(path: string, suite: SuiteResult): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(suite, null, 2)}\n`);
}

/** Rows that were not run keep what they were last seen to do. */
function takeOver(suite: SuiteResult): void {
  const latest = JSON.parse(readFileSync(latestPath, 'utf8')) as SuiteResult;
  const merged = faults.flatMap(({ id }) => {
    const row = suite.rows.find((each) => each.id === id) ?? latest.rows.find((each) => each.id === id);
    return row ?? [];
  });
  save(latestPath, { ...suite, rows: merged });
  writeFileSync(pagePath, pageText({ ...suite, rows: merged }));
}

process.exitCode = await main();
// A row that was given up on may have left something open.
process.exit();
