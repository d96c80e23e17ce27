import { aborts } from './aborts.mjs';
import { chaos, mixed } from './chaos.mjs';
import { idle } from './idle.mjs';
import { kill } from './kill.mjs';
import { reload } from './reload.mjs';
import { restart } from './restart.mjs';
import { slowReaders } from './slow-readers.mjs';
import { upgrade } from './upgrade.mjs';
import { waits } from './waits.mjs';

/** @type {readonly import('../types.d.ts').Scenario[]} */
export const scenarios = [chaos, aborts, slowReaders, idle, kill, reload, upgrade, restart, mixed, waits];
