/** `penstock sim`: one simulated engine in the foreground. */
import { parseArgs } from 'node:util';
import type { ParseArgsConfig } from 'node:util';
import { parseFaultFlag } from './faults.ts';
import type { FaultSet } from './faults.ts';
import { simDefaults } from './options.ts';
import type { SimOptions } from './options.ts';
import { startSim } from './server.ts';

/** The `parseArgs` table. */
export const simFlags = {
  host: { type: 'string' },
  port: { type: 'string' },
  name: { type: 'string' },
  model: { type: 'string', multiple: true },
  lora: { type: 'string', multiple: true },
  'max-loras': { type: 'string' },
  'lora-load-ms': { type: 'string' },
  speed: { type: 'string' },
  seed: { type: 'string' },
  'kv-blocks': { type: 'string' },
  'block-size': { type: 'string' },
  'prefill-rate': { type: 'string' },
  'prefill-pair-ms': { type: 'string' },
  'decode-rate': { type: 'string' },
  'max-seqs': { type: 'string' },
  'max-batched-tokens': { type: 'string' },
  'max-model-len': { type: 'string' },
  'keep-alive-ms': { type: 'string' },
  role: { type: 'string' },
  transfer: { type: 'string' },
  'transfer-lease-ms': { type: 'string' },
  'kv-events': { type: 'string' },
  'kv-events-replay': { type: 'string' },
  'kv-events-topic': { type: 'string' },
  'kv-events-form': { type: 'string' },
  fault: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsConfig['options'];

export const simHelp = `penstock sim [flags]: one simulated vLLM server

  --port N                 0 takes a free port (${simDefaults.port})
  --host H                 (${simDefaults.host})
  --name NAME              sent as x-sim-endpoint (${simDefaults.name})
  --model NAME             served model; may be given more than once (${simDefaults.models[0]})
  --lora NAME              served LoRA adapter; may be given more than once
  --max-loras N            adapters in memory at once (${simDefaults.loraCountMax})
  --lora-load-ms N         milliseconds to load one that is not, at speed 1 (${simDefaults.loraLoadMs})
  --speed X                1 real time, 10 ten times faster, 0 answers at once (${simDefaults.speed})
  --prefill-rate N         prompt tokens a second (${simDefaults.prefillTokensPerSecond})
  --prefill-pair-ms X      milliseconds per pair of prompt tokens, for attention (${simDefaults.prefillMsPerTokenPair})
  --decode-rate N          output tokens a second, one sequence alone (${simDefaults.decodeTokensPerSecond})
  --max-seqs N             sequences in one batch (${simDefaults.maxBatchSize})
  --max-batched-tokens N   tokens in one step (${simDefaults.maxBatchedTokens})
  --max-model-len N        prompt and output tokens of one request (${simDefaults.maxModelLen})
  --kv-blocks N            KV cache size (${simDefaults.kvBlocks})
  --block-size N           tokens a KV block (${simDefaults.blockSize})
  --keep-alive-ms N        idle time of a connection (${simDefaults.keepAliveMs})
  --transfer KIND          hands prompts to another engine: none, vllm or sglang (${simDefaults.transfer})
  --role ROLE              prefill, decode or both; an sglang engine does nothing else then (${simDefaults.role})
  --transfer-lease-ms N    how long a prompt is kept for the other (${simDefaults.transferLeaseMs})
  --kv-events URL          publishes KV events there, such as tcp://127.0.0.1:5557
  --kv-events-replay URL   answers there for those that were missed
  --kv-events-topic TEXT   (none)
  --kv-events-form FORM    map, or array as SGLang and older vLLM write them (${simDefaults.kvEventsForm})
  --seed N                 same seed, same answers (${simDefaults.seed})
  --fault KIND=RATE[,KEY=VALUE]...   for example stall=0.1,ms=2000; POST /sim/faults changes it at run time
`;

/** Number flags and the setting each one sets. */
const numberFlags = [
  ['port', 'port'],
  ['speed', 'speed'],
  ['seed', 'seed'],
  ['kv-blocks', 'kvBlocks'],
  ['block-size', 'blockSize'],
  ['prefill-rate', 'prefillTokensPerSecond'],
  ['prefill-pair-ms', 'prefillMsPerTokenPair'],
  ['decode-rate', 'decodeTokensPerSecond'],
  ['max-seqs', 'maxBatchSize'],
  ['max-batched-tokens', 'maxBatchedTokens'],
  ['max-model-len', 'maxModelLen'],
  ['keep-alive-ms', 'keepAliveMs'],
  ['transfer-lease-ms', 'transferLeaseMs'],
  ['max-loras', 'loraCountMax'],
  ['lora-load-ms', 'loraLoadMs'],
] as const;

function oneOf<const Name extends string>(flag: string, text: string, names: readonly Name[]): Name {
  const name = names.find((each) => each === text);
  if (name === undefined) throw new RangeError(`--${flag} must be one of ${names.join(', ')}, not ${text}`);
  return name;
}

export interface SimCommand {
  readonly isHelp: boolean;
  readonly options: SimOptions;
  readonly faults: FaultSet;
}

/** Reads flags. Throws TypeError (unknown flag) or RangeError (bad value), with a message fit to show. */
export function parseSimCommand(argv: readonly string[]): SimCommand {
  const { values } = parseArgs({ args: [...argv], options: simFlags, allowPositionals: false });
  const numbers: Record<string, number> = {};
  for (const [flag, setting] of numberFlags) {
    const text = values[flag];
    if (text === undefined) continue;
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < 0)
      throw new RangeError(`--${flag} must be a number, not ${text}`);
    numbers[setting] = value;
  }
  let faults: FaultSet = {};
  for (const text of values.fault ?? []) faults = { ...faults, ...parseFaultFlag(text) };
  const options: SimOptions = {
    ...numbers,
    ...(values.host === undefined ? {} : { host: values.host }),
    ...(values.name === undefined ? {} : { name: values.name }),
    ...(values.model === undefined ? {} : { models: values.model }),
    ...(values.lora === undefined ? {} : { loraAdapters: values.lora }),
    ...(values.role === undefined ? {} : { role: oneOf('role', values.role, ['both', 'prefill', 'decode']) }),
    ...(values.transfer === undefined
      ? {}
      : { transfer: oneOf('transfer', values.transfer, ['none', 'vllm', 'sglang']) }),
    ...(values['kv-events'] === undefined ? {} : { kvEvents: values['kv-events'] }),
    ...(values['kv-events-replay'] === undefined ? {} : { kvEventsReplay: values['kv-events-replay'] }),
    ...(values['kv-events-topic'] === undefined ? {} : { kvEventsTopic: values['kv-events-topic'] }),
    ...(values['kv-events-form'] === undefined
      ? {}
      : { kvEventsForm: oneOf('kv-events-form', values['kv-events-form'], ['map', 'array']) }),
  };
  return { isHelp: values.help === true, options, faults };
}

/**
 * Runs until SIGTERM or SIGINT. Prints one JSON line once it listens: `{msg: "ready", name, url, port, models}`.
 * Rejects when a flag is wrong or the port cannot be bound.
 */
export async function runSimCommand(argv: readonly string[]): Promise<void> {
  const command = parseSimCommand(argv);
  if (command.isHelp) {
    process.stdout.write(simHelp);
    return;
  }
  const sim = await startSim(command.options);
  sim.setFaults(command.faults);
  const models = command.options.models ?? simDefaults.models;
  process.stdout.write(`${JSON.stringify({ msg: 'ready', name: sim.name, url: sim.url, port: sim.port, models })}\n`);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  await sim.close();
}
