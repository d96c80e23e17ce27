import { aborts } from './aborts.mjs';
import { chaos, mixed } from './chaos.mjs';
import { idle } from './idle.mjs';
import { kill } from './kill.mjs';
import { slowReaders } from './slow-readers.mjs';
import { waits } from './waits.mjs';

/** @type {readonly import('../types.d.ts').Scenario[]} */
export const scenarios = [chaos, aborts, slowReaders, idle, kill, mixed, waits];
