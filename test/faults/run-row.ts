import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SuiteResult } from './result.ts';
import type { FaultRow, RowResult } from './row.ts';
import { type CalmReport, Stage } from './stage.ts';

const rowBoundMs = 45_000;

function missingTool({ tools = [], isApart = false }: FaultRow): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(':');
  const missing = [...tools, ...(isApart ? ['unshare', 'ip'] : [])].find(
    (tool) => !folders.some((folder) => existsSync(join(folder, tool))),
  );
  return missing ?? (isApart && process.getuid?.() !== 0 ? 'root' : undefined);
}

function notRun(id: string, missing: string): RowResult {
  return { id, verdict: 'not run', seconds: 0, seen: `${missing} missing`, broken: [], calm: null };
}

/** Makes the fault and judges what came of it. Never rejects, and never takes longer than the row's bound by much. */
export async function runRow(row: FaultRow, calmUrl: string): Promise<RowResult> {
  const missing = missingTool(row);
  if (missing !== undefined) return notRun(row.id, missing);
  const startMs = performance.now();
  const stage = new Stage(calmUrl);
  let calm: CalmReport | null = null;
  const boundMs = row.boundMs ?? rowBoundMs;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over in ${boundMs / 1000} s`)), boundMs);
  });
  const work = (async () => {
    await row.run(stage);
    calm = await stage.settle();
  })();
  work.catch(() => {}); // What comes after the bound is nobody's.
  try {
    await Promise.race([work, late]);
  } catch (error) {
    stage.broken.push(error instanceof Error ? error.message : String(error));
  }
  clearTimeout(timer);
  await stage.close();
  return {
    id: row.id,
    verdict: stage.broken.length === 0 ? 'kept' : 'broken',
    seconds: Math.round((performance.now() - startMs) / 100) / 10,
    seen: stage.seen.join('; '),
    broken: [...stage.broken],
    calm,
  };
}

/** The same in a network and mount namespace of its own: the suite calls itself there, and reads the result back. */
export async function runApart(row: FaultRow): Promise<RowResult> {
  const missing = missingTool(row);
  if (missing !== undefined) return notRun(row.id, missing);
  const folder = mkdtempSync(join(tmpdir(), 'penstock-faults-apart-'));
  const jsonPath = join(folder, 'row.json');
  const inner = `ip link set lo up && exec "$0" "$1" --inside --json "$2" "$3"`;
  const args = ['-n', '-m', 'sh', '-c', inner, process.execPath, process.argv[1]!, jsonPath, row.id];
  const child = spawn('unshare', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  await once(child, 'exit');
  try {
    const { rows } = JSON.parse(readFileSync(jsonPath, 'utf8')) as SuiteResult;
    return rows[0]!;
  } catch {
    return notRun(row.id, `namespaces (${stderr.trim().split('\n')[0]})`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
