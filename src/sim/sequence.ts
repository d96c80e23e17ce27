/**
 * One generation inside the engine: its tokens, its blocks, its place in the schedule.
 *
 *      submit        admitted          last prompt token computed
 *     ───────▶ waiting ─────▶ prefill ───────────────────────────▶ decode ──▶ finished
 *                 ▲              │                                   │
 *                 └── preempted ─┴───────────────────────────────────┘        aborted: from any state but finished
 */
import { fail } from '../core/index.ts';
import { PrefixHash } from './kv-cache.ts';

/** `finished` and `aborted` are terminal. */
export const Phase = { waiting: 0, prefill: 1, decode: 2, finished: 3, aborted: 4 } as const;
export type Phase = (typeof Phase)[keyof typeof Phase];
const to = (...phases: Phase[]): number => phases.reduce<number>((set, phase) => set | (1 << phase), 0);
/** successors[from] is the bit set of legal next phases. */
const successors: readonly number[] = [
  /* waiting  */ to(Phase.prefill, Phase.aborted),
  /* prefill  */ to(Phase.waiting, Phase.decode, Phase.finished, Phase.aborted), // finished: pooling, or one token asked for.
  /* decode   */ to(Phase.waiting, Phase.finished, Phase.aborted),
  /* finished */ to(),
  /* aborted  */ to(), // A step that was under way must not revive it.
];

/** vLLM's `finished_reason` label; tool calls count as `stop`. */
export type FinishReason = 'stop' | 'length';

/** What a sequence will say, decided before it starts; the engine only decides when. */
export interface OutputPlan {
  /** Tokens to generate; 0 for a pooling request, which ends with its prefill. */
  readonly tokenCount: number;
  readonly finishReason: FinishReason;
  /** The next token id. Called once a generated token, in order. */
  nextToken(): number;
}

/** Told what happens to a sequence, inside the engine's turn; may abort sequences, must not throw. */
export interface SequenceSink {
  /** Returns true to end the sequence here with reason stop (a stop string was found). */
  onToken(sequence: Sequence, token: number): boolean;
  onFinish(sequence: Sequence, reason: FinishReason): void;
}

export interface SequenceOptions {
  readonly prompt: Int32Array;
  readonly blockSize: number;
  /** Lower runs first (vLLM). */
  readonly priority: number;
  /** Served LoRA adapter, or empty for the base model. */
  readonly adapter: string;
  /** Keeps sequences with different seeds from sharing blocks: adapter and cache salt. */
  readonly prefixSeed: number;
  readonly sink: SequenceSink;
}

export class Sequence {
  readonly prompt: Int32Array;
  readonly promptTokens: number;
  readonly priority: number;
  readonly adapter: string;
  readonly sink: SequenceSink;
  /** Key of every full block of prompt and output, in order. */
  readonly blockKeys: number[] = [];
  /** Hash of the whole prompt: seeds the text. */
  readonly promptKey: number;
  /** Held KV blocks, in token order. Owner: the engine. */
  readonly blocks: number[] = [];
  plan: OutputPlan = { tokenCount: 0, finishReason: 'stop', nextToken: () => fail('sequence has no plan') };
  completionTokens = 0;
  /** Tokens whose KV is in `blocks`. */
  computedCount = 0;
  /** Tokens the step under way will compute; 0 when it leaves this sequence out. */
  scheduledCount = 0;
  /** Prompt tokens found in the cache at first admission; -1 before. */
  cachedTokens = -1;
  /** Arrival order, the second sort key of the waiting queue. */
  order = 0;
  /** Place in the waiting queue's heap; -1 outside it. */
  queueIndex = -1;
  arrivedMs = 0;
  admittedMs = 0;
  firstTokenMs = 0;
  lastTokenMs = 0;
  readonly #output: number[] = [];
  readonly #hash: PrefixHash;
  readonly #blockSize: number;
  #phase: Phase = Phase.waiting;

  constructor(options: SequenceOptions) {
    this.prompt = options.prompt;
    this.promptTokens = options.prompt.length;
    this.priority = options.priority;
    this.adapter = options.adapter;
    this.sink = options.sink;
    this.#blockSize = options.blockSize;
    const hash = new PrefixHash(options.prefixSeed);
    const prompt = options.prompt;
    let untilKey = options.blockSize;
    for (let index = 0; index < prompt.length; index++) {
      hash.add(prompt[index]!);
      if (--untilKey === 0) {
        this.blockKeys.push(hash.key);
        untilKey = options.blockSize;
      }
    }
    this.#hash = hash;
    this.promptKey = hash.key;
  }

  get phase(): Phase {
    return this.#phase;
  }

  get isOpen(): boolean {
    return this.#phase < Phase.finished;
  }

  /** Prompt and output tokens so far. */
  get tokenCount(): number {
    return this.promptTokens + this.completionTokens;
  }

  /** Ids of prompt and output from `start` to before `end`. */
  tokens(start: number, end: number): number[] {
    const ids = Array.from(this.prompt.subarray(start, Math.min(end, this.promptTokens)));
    for (let at = Math.max(start, this.promptTokens); at < end; at++) ids.push(this.#output[at - this.promptTokens]!);
    return ids;
  }

  /** The only writer of `phase`. Throws on a transition the table does not list. */
  become(next: Phase): void {
    if ((successors[this.#phase]! & (1 << next)) === 0) fail('illegal sequence transition', this.#phase, next);
    this.#phase = next;
  }

  /** Appends a generated token; its block gets a key when it is full. */
  append(token: number): void {
    this.completionTokens++;
    this.#output.push(token);
    this.#hash.add(token);
    if (this.tokenCount % this.#blockSize === 0) this.blockKeys.push(this.#hash.key);
  }
}
