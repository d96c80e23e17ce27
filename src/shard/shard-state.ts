import { type Accountant } from '../account/index.ts';
import { bug, type Clock } from '../core/index.ts';
import { type Exchange, Lease, type LeaseBook } from '../exchange/index.ts';
import { type MemberSpans, PromptParts, RequestScanner } from '../http/index.ts';
import { PromptKeys } from '../pick/index.ts';
import {
  Admission,
  Bells,
  FleetTable,
  Heartbeats,
  PrefixJournalWriter,
  PromptSecret,
  ModelTable,
  QueueTable,
  ResidentTable,
  SharedBudget,
  type SharedMemory,
  type SlabPool,
  WorkTable,
} from '../shm/index.ts';
import { makeSpans } from './disaggregation/transfer-keys.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { Runtime } from './runtime.ts';

/** Free lists keep this many records; more were a burst. */
const sparesMax = 4096;
/** Bodies hashed at once; 40 KB each, in memory that is never given back. Those beyond are routed by load. */
const partsMax = 1024;

/** What a shard shares with the others, as it sees it. */
export interface SharedParts {
  readonly fleet: FleetTable;
  readonly budget: SharedBudget;
  readonly admission: Admission;
  readonly queues: QueueTable;
  readonly bells: Bells;
  readonly heartbeats: Heartbeats;
  readonly work: WorkTable;
  readonly models: ModelTable;
  readonly residents: ResidentTable;
  /** The same in all shards of the process, and known to nobody outside. */
  readonly hashSeed: number;
  readonly promptSecret: PromptSecret;
  /** Null where no other gateway is told. */
  readonly journal: PrefixJournalWriter | null;
}

export function sharedPartsOf(memory: SharedMemory, shardIndex: number): SharedParts {
  const journal = memory.journals[shardIndex];
  return {
    fleet: new FleetTable(memory, shardIndex),
    budget: new SharedBudget(memory, shardIndex),
    admission: new Admission(memory, shardIndex),
    queues: new QueueTable(memory, shardIndex),
    bells: new Bells(memory),
    heartbeats: new Heartbeats(memory),
    work: new WorkTable(memory, shardIndex),
    models: new ModelTable(memory, shardIndex),
    residents: new ResidentTable(memory, shardIndex),
    hashSeed: memory.hashSeed,
    promptSecret: new PromptSecret(memory.promptSecret),
    journal: journal === undefined ? null : new PrefixJournalWriter(journal),
  };
}

/** What the stages of one shard share: its memory, its books, its open exchanges. */
export interface ShardParts extends SharedParts {
  readonly clock: Clock;
  readonly random: () => number;
  readonly slabs: SlabPool;
  readonly leases: LeaseBook;
  readonly accountant: Accountant;
  readonly listenerNames: readonly string[];
  /** Writes one access-log line, unless the log level leaves them out. */
  readonly writeAccessLog: (exchange: Exchange, nowMs: number, detail: string) => void;
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string) => void;
}

export class ShardState {
  readonly parts: ShardParts;
  readonly open: GatewayExchange[] = [];
  readonly #spareExchanges: GatewayExchange[] = [];
  readonly #spareScanners: RequestScanner[] = [];
  readonly #spareParts: PromptParts[] = [];
  #partsCount = 0;
  readonly #spareKeys: PromptKeys[] = [];
  readonly #spareSpans: MemberSpans[] = [];
  readonly #makeExchange: () => GatewayExchange;
  runtime: Runtime;
  isDraining = false;

  constructor(parts: ShardParts, runtime: Runtime, makeExchange: () => GatewayExchange) {
    this.parts = parts;
    this.runtime = runtime;
    this.#makeExchange = makeExchange;
  }

  takeExchange(): GatewayExchange {
    const exchange = this.#spareExchanges.pop() ?? this.#makeExchange();
    exchange.openIndex = this.open.length;
    this.open.push(exchange);
    this.parts.leases.take(exchange, Lease.exchange);
    this.parts.admission.setRequests(this.open.length);
    return exchange;
  }

  /** The last step of `close`: nothing is held any more. */
  giveExchange(exchange: GatewayExchange): void {
    this.parts.leases.give(exchange, Lease.exchange);
    const last = this.open.pop()!;
    this.parts.admission.setRequests(this.open.length);
    if (last !== exchange) {
      this.open[exchange.openIndex] = last;
      last.openIndex = exchange.openIndex;
    }
    bug(exchange.heldLeases === 0, 'lease_held_at_close');
    // An upload answered early is still arriving: the library hands the rest to this record, which must be nobody else's.
    const isReusable = exchange.request.isDone;
    if (exchange.prompt !== null && this.#spareKeys.length < partsMax) this.#spareKeys.push(exchange.prompt);
    if (exchange.spans !== null && this.#spareSpans.length < sparesMax) this.#spareSpans.push(exchange.spans);
    exchange.recycle();
    if (isReusable && this.#spareExchanges.length < sparesMax) this.#spareExchanges.push(exchange);
  }

  takeScanner(exchange: GatewayExchange, wantsPrompt: boolean, wantsSpans: boolean): void {
    const parts = wantsPrompt ? this.#takeParts() : null;
    exchange.promptParts = parts;
    exchange.spans = wantsSpans ? (this.#spareSpans.pop() ?? makeSpans()) : null;
    exchange.spans?.reset();
    exchange.scanner = this.#spareScanners.pop() ?? new RequestScanner();
    exchange.scanner.reset(parts, exchange.spans);
  }

  #takeParts(): PromptParts | null {
    const spare = this.#spareParts.pop();
    if (spare === undefined && this.#partsCount === partsMax) return null;
    if (spare === undefined) this.#partsCount++;
    const parts = spare ?? new PromptParts();
    parts.reset();
    return parts;
  }

  /** The body is over and was read in one way: keeps what of it is prompt. */
  takePrompt(exchange: GatewayExchange): void {
    if (exchange.promptParts?.finish() !== true) return;
    exchange.prompt = this.#spareKeys.pop() ?? new PromptKeys();
    exchange.prompt.read(exchange.promptParts);
  }

  giveScanner(exchange: GatewayExchange): void {
    const { scanner, promptParts } = exchange;
    if (scanner !== null && this.#spareScanners.length < sparesMax) this.#spareScanners.push(scanner);
    if (promptParts !== null) this.#spareParts.push(promptParts);
    exchange.scanner = null;
    exchange.promptParts = null;
  }
}
