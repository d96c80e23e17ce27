import { families } from './catalogue.ts';
import type { SuiteResult } from './result.ts';
import { rows } from './rows.ts';

export function pageText(result: SuiteResult): string {
  const lines: string[] = [];
  for (const { title, faults } of families) {
    lines.push(
      `### ${title}`,
      '',
      '| # | Fault | How it is made here | Promised | Seen | Verdict |',
      '| --- | --- | --- | --- | --- | --- |',
    );
    for (const { id, fault, promise } of faults) {
      const row = result.rows.find((each) => each.id === id);
      const how = rows.find((each) => each.id === id)?.how ?? '';
      lines.push(`| ${id} | ${fault} | ${how} | ${promise} | ${row?.seen ?? ''} | ${row?.verdict ?? ''} |`);
    }
    lines.push('');
  }
  return lines.join('\n');
}
