/**
 * head: turns a parsed head and a look at the body into the facts routing, picking and accounting go by. Pure; owns nothing.
 */
export { classifyPath, isDisguised } from './api.ts';
export { takeFacts } from './facts.ts';
