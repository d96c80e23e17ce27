/**
 * sim: a simulated vLLM server (`penstock sim`), which the demo, the tests and the load tests run against.
 *
 * It owns an engine that batches, prefills, decodes, caches prefixes and runs out of memory as vLLM does, only that its
 * steps take computed time and its words are made up; an HTTP server with the OpenAI, Anthropic and vLLM endpoints in
 * front of it; and faults on demand. It imports nothing but core, and the gateway imports nothing of it.
 *
 * Read in this order: options (every setting), sequence, kv-cache, scheduler with step-time and waiting-queue (the engine);
 * tokenizer, prompt, text (what goes in and what comes out); generation (one call's work), chat (the model for the other
 * dialects), exchange and faults (how it is sent, and how it goes wrong), transfer (prompts for other engines, or from them), kv-events with
 * msgpack and zmq-server (what it publishes of its cache), routes, server, cli.
 */
export { patternOf } from './byte-answer.ts';
export { parseSimCommand, runSimCommand, simFlags, simHelp } from './cli.ts';
export type { SimCommand } from './cli.ts';
export { faultKinds } from './faults.ts';
export type { Fault, FaultKind, FaultSet } from './faults.ts';
export { KvCache, PrefixHash } from './kv-cache.ts';
export { ManualTime } from './manual-time.ts';
export { resolveSettings, simDefaults } from './options.ts';
export type { SimOptions, SimSettings, SimTimers } from './options.ts';
export { Engine } from './scheduler.ts';
export { Phase, Sequence } from './sequence.ts';
export type { FinishReason, OutputPlan, SequenceSink } from './sequence.ts';
export { startSim } from './server.ts';
export type { Sim } from './server.ts';
export type { SimStats } from './stats.ts';
export { detokenize, tokenize } from './tokenizer.ts';
