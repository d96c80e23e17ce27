/** Every scenario, in the order in which they are listed; each is one file beside this one. */
import { chat3kb } from './chat-3kb.mjs';
import { chat3mb } from './chat-3mb.mjs';
import { mixed } from './mixed.mjs';
import { stream } from './stream.mjs';

/** @type {readonly import('../types.d.ts').Scenario[]} */
export const scenarios = [chat3kb, chat3mb, stream, mixed];
