/**
 * What is sent. Read in this order: b2b (the simplest with shared prefixes), sessions, mooncake, unshared, repeated.
 *
 * @typedef {object} Workload
 * @property {string} name
 * @property {import('../profiles.mjs').Profile} profile of every endpoint
 * @property {number} blockTokens
 * @property {readonly import('../request.mjs').Spec[]} specs first turns, by arrival
 * @property {number} nameCount block names in use
 */
export { assistants, b2b } from './b2b.mjs';
export { mooncakeConversation, mooncakeSynthetic } from './mooncake.mjs';
export { repeated, stampede, thirtyTimes } from './repeated.mjs';
export { agent, chat, sessions } from './sessions.mjs';
export { azure } from './unshared.mjs';
