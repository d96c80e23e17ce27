import { families, faults } from './catalogue.ts';
import { matrix, matrixFaults, type MatrixFault, matrixPhases, type Outcome } from './matrix.ts';
import type { SuiteResult } from './result.ts';
import type { RowResult, Verdict } from './row.ts';
import { missingRows, rows } from './rows.ts';

/** A broken promise is told in so many characters; the whole of it is in the results. */
const brokenTextMax = 240;

const verdicts: Readonly<Record<Verdict, string>> = {
  kept: 'kept',
  broken: '**broken**',
  'not yet': 'not yet',
  'not run': 'not run',
};

/**
 * docs/faults.md, made of the catalogue, the rows, the matrix and what the last `npm run faults -- --docs` saw; a test holds
 * the file to them.
 */
export function pageText(result: SuiteResult): string {
  return [...intro(result), ...catalogueLines(result), ...matrixLines()].join('\n');
}

function intro({ version, date, machine, rows: results }: SuiteResult): string[] {
  const count = (verdict: Verdict): number => results.filter((each) => each.verdict === verdict).length;
  return [
    '# Faults',
    '',
    '<!-- Made from test/faults/: do not edit. `npm run faults -- --docs` runs the catalogue and writes it; UPDATE_DOCS=1 npx vitest run test/faults writes it from the results there are. -->',
    '',
    'What is promised when something goes wrong, and what was seen when it was made to. `npm run faults` makes each fault against the real',
    'program, `npm run faults -- F05 F2x` some of them; it exits with 1 when a promise is broken.',
    '',
    `Version ${version}, ${date}; ${machine}. Of ${faults.length} faults ${count('kept')} promises are kept, ${count('broken')} broken, ${count('not yet')} cannot be tested yet and ${count('not run')} were not run for want of a tool.`,
    'Numbers are those that were used: smaller than a production fleet’s where one machine is gateway, engines and clients at once.',
    '',
    'The verdict comes from three logs, which have to tell one story: what clients received, what engines executed, what the gateway wrote and',
    'counted. No request is executed twice without a retry on record, no answer is whole to the client and broken on record, every request',
    'has one record with one reason, and every piece of an answer carries the key of its request. Of every row is asked besides: the process',
    'still runs and is the same one; no uncaught error; `penstock_bug_total` 0; all leases back within 5 s; it drains and exits with 0; and traffic',
    'beside the fault, chats and streams of another model with every byte checked, has no error and no p99 above a second. *p99* is what that',
    'traffic saw before and during the fault, in ms.',
    '',
  ];
}

function catalogueLines(result: SuiteResult): string[] {
  const lines = ['## The catalogue', ''];
  for (const { title, faults: own } of families) {
    lines.push(
      `### ${title}`,
      '',
      '| # | Fault | How it is made | Promised | Seen | p99 | Verdict |',
      '| --- | --- | --- | --- | --- | --- | --- |',
    );
    for (const { id, fault, promise } of own) {
      const seen = result.rows.find((each) => each.id === id);
      const how = rows.find((each) => each.id === id)?.how ?? '';
      const cells = [
        id,
        fault,
        how,
        promise,
        seenText(id, seen),
        p99Text(seen),
        seen === undefined ? '' : verdicts[seen.verdict],
      ];
      lines.push(`| ${cells.map(cellText).join(' | ')} |`);
    }
    lines.push('');
  }
  return lines;
}

function seenText(id: string, row: RowResult | undefined): string {
  const missing = missingRows.find((each) => each.id === id);
  if (missing !== undefined) return `needs ${missing.needs}`;
  if (row === undefined) return '';
  const broken = row.broken.map((text) => text.slice(0, brokenTextMax));
  return broken.length === 0
    ? row.seen
    : [row.seen, `Broken: ${broken.join('; ')}`].filter((text) => text !== '').join('. ');
}

function p99Text(row: RowResult | undefined): string {
  if (row === undefined || row.calm === null) return '';
  return `${Math.round(row.calm.p99BeforeMs)} → ${Math.round(row.calm.p99Ms)}`;
}

function matrixLines(): string[] {
  const names = Object.keys(matrixFaults) as MatrixFault[];
  const lines = [
    '## The matrix',
    '',
    'What comes of one exchange, by what it waits for ([phases](life-of-an-exchange.md#phases)) when the fault strikes. Each cell is a wire test',
    '(`test/wire/fault-matrix.test.ts`) with two endpoints, the first of which is struck: what the client gets, the `reason` where it is',
    'another word, what the endpoint sees. *Retried* is an answer of the second endpoint. An empty cell cannot be: the phase does not wait for',
    'that side.',
    '',
    `| Fault | ${matrixPhases.map((phase) => `\`${phase}\``).join(' | ')} |`,
    `| --- |${' --- |'.repeat(matrixPhases.length)}`,
  ];
  for (const fault of names) {
    const cells = matrixPhases.map((phase) => outcomeText(matrix[phase][fault]));
    lines.push(`| ${matrixFaults[fault]} | ${cells.join(' | ')} |`);
  }
  lines.push('');
  return lines;
}

function outcomeText(outcome: Outcome | undefined): string {
  if (outcome === undefined) return '';
  const { client, reason, endpoint, isRetried } = outcome;
  const parts = [client === 'gone' ? reason : client];
  if (client !== 'gone' && client !== 'whole' && !client.endsWith(reason)) parts.push(`reason ${reason}`);
  if (isRetried) parts.push('retried');
  parts.push(
    endpoint === 'finished' ? 'endpoint finishes' : endpoint === 'closed' ? 'endpoint closed' : 'endpoint never asked',
  );
  return parts.join('; ');
}

function cellText(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
