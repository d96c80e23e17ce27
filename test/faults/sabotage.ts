import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plan, Stage } from './stage.ts';

const preload = fileURLToPath(new URL('fixtures/sabotage.cjs', import.meta.url));

/** Happens once, in the thread that finds it first. */
type Once = 'shard-exits' | 'shard-stalls' | 'worker-throws' | 'worker-loops' | 'gateway-exits';
/** In force until it is ended. */
type Lasting = 'clock-ahead' | 'clock-behind' | 'releases-lost';

/** Damage from within the gateway's own threads; see fixtures/sabotage.cjs. */
export class Sabotage {
  readonly #folder = mkdtempSync(join(tmpdir(), 'penstock-sabotage-'));

  constructor(stage: Stage) {
    stage.after(() => rmSync(this.#folder, { recursive: true, force: true }));
  }

  get plan(): Plan {
    return { nodeFlags: ['--require', preload], env: { PENSTOCK_SABOTAGE: this.#folder } };
  }

  begin(what: Once | Lasting): void {
    writeFileSync(join(this.#folder, what), '');
  }

  end(what: Lasting): void {
    rmSync(join(this.#folder, what));
  }
}
