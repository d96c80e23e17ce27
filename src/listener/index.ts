/**
 * listener: accepts and closes downstream connections. Owns the library (the only folder that imports uWebSockets.js),
 * the bound sockets and the head guard; hands on exchanges whose head is unambiguous, and body bytes as they come.
 *
 * Read in this order: listener (one bound address), generation (its certificates), address-cap (how many connections an
 * address has), head-guard (what is let through), refusal, uws (which build).
 */
export type { Generation } from './generation.ts';
export type { GuardLimits, RawRequest } from './head-guard.ts';
export { HeadGuard } from './head-guard.ts';
export { DownstreamHooks, Listener } from './listener.ts';
export type { ListenedExchange, ListenerEvents, ListenerOptions } from './listener.ts';
export { refusals } from './refusal.ts';
export type { Refusal } from './refusal.ts';
export { loadUws } from './uws.ts';
export type { LoadedUws } from './uws.ts';
