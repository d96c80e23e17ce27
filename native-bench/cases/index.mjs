/** Every case, as data. To read: one file a family; measures/ says how each kind is measured. */
import { heldCases } from './held.mjs';
import { requestCases } from './requests.mjs';
import { slowCases } from './slow.mjs';
import { streamCases } from './streams.mjs';

/** @type {readonly import('../types.d.ts').Case[]} */
export const cases = [...requestCases, ...streamCases, ...slowCases, ...heldCases];
