import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plan, Stage } from './stage.ts';

const preload = fileURLToPath(new URL('fixtures/sabotage.cjs', import.meta.url));

/** Damage from within the gateway's own threads; see fixtures/sabotage.cjs. */
export class Sabotage {
  readonly #folder = mkdtempSync(join(tmpdir(), 'penstock-sabotage-'));

  constructor(stage: Stage) {
    stage.after(() => rmSync(this.#folder, { recursive: true, force: true }));
  }

  get plan(): Plan {
    return { nodeFlags: ['--require', preload], env: { PENSTOCK_SABOTAGE: this.#folder } };
  }

  begin(
    what: 'shard-exits' | 'shard-stalls' | 'worker-throws' | 'gateway-exits' | 'clock-ahead' | 'clock-behind',
  ): void {
    writeFileSync(join(this.#folder, what), '');
  }

  end(what: 'clock-ahead' | 'clock-behind'): void {
    rmSync(join(this.#folder, what));
  }
}
