/**
 * The engine: continuous batching over a paged KV cache, in steps, as vLLM's `v1/core/sched/scheduler.py` does it.
 *
 * One step computes at most `maxBatchedTokens` tokens. Sequences that run come first (one token of a decode, or the next
 * chunk of a prompt), then waiting ones are admitted while tokens, `maxBatchSize` and free blocks allow. A prefix hit is
 * decided at admission: full blocks only, and at least one prompt token is computed. Blocks are findable by others from
 * the moment they are scheduled. When a running sequence gets no block, the last one to run loses all of its blocks and
 * waits again (preemption by recompute).
 *
 * One timer serves the whole engine: it ends the step under way. Step ends are computed, not measured, so a late timer does
 * not slow the engine down: the steps that are due run at once. At speed 0 steps take no time and run inside `submit`.
 */
import { assert } from '../core/index.ts';
import { AdapterSlots } from './adapter-slots.ts';
import { EngineMetrics } from './engine-metrics.ts';
import type { AbortPhase } from './engine-metrics.ts';
import { KvCache } from './kv-cache.ts';
import type { SimSettings } from './options.ts';
import { Phase } from './sequence.ts';
import type { FinishReason, Sequence } from './sequence.ts';
import { stepMs } from './step-time.ts';
import { isBefore, WaitingQueue } from './waiting-queue.ts';

/** Tokens given out in one event-loop turn (about 5 ms of writing) before sockets get their chance. */
const tokensPerTurnMax = 1024;
/** When the process was held up for longer than this, the engine goes on from now instead of catching up. */
const lagMsMax = 1000;

/** Who ended a generation early: the client left (counted in `aborted`), or the server gave up (a fault, `close`). */
export type AbortCause = 'client' | 'server';

const abortPhases: readonly AbortPhase[] = ['queued', 'prefill', 'decode'];

export class Engine {
  readonly cache: KvCache;
  readonly metrics: EngineMetrics;
  readonly adapters: AdapterSlots;
  /** Stretches every step; the `slow_factor` fault sets it. Called once a step. */
  slowFactor: () => number = () => 1;
  /** Called when a step was scheduled: the cache has changed as far as it does. */
  onScheduled: () => void = () => {};
  readonly #settings: SimSettings;
  readonly #waiting = new WaitingQueue();
  readonly #running: Sequence[] = [];
  #order = 0;
  /** What loading adapters takes of the step that is being made. The whole batch waits for it, as in vLLM. */
  #loadMs = 0;
  /** When the step under way ends (or, at speed 0, ended). */
  #stepEndMs = 0;
  #isStepOpen = false;
  #isStepping = false;
  #isClosed = false;
  #disarm: (() => void) | null = null;

  constructor(settings: SimSettings) {
    this.#settings = settings;
    this.cache = new KvCache(settings.kvBlocks, settings.blockSize);
    this.metrics = new EngineMetrics(settings.maxModelLen);
    this.adapters = new AdapterSlots(settings.loraCountMax);
  }

  get runningCount(): number {
    return this.#running.length;
  }

  get waitingCount(): number {
    return this.#waiting.count;
  }

  running(): Iterable<Sequence> {
    return this.#running;
  }

  waiting(): Iterable<Sequence> {
    return this.#waiting.values();
  }

  /** Takes over a fresh sequence whose prompt and plan fit `maxModelLen`. Its sink may be called before this returns. */
  submit(sequence: Sequence): void {
    assert(!this.#isClosed, 'engine is closed');
    assert(sequence.promptTokens > 0, 'prompt is empty');
    assert(
      sequence.promptTokens + sequence.plan.tokenCount <= this.#settings.maxModelLen,
      'sequence is longer than maxModelLen',
    );
    sequence.order = this.#order++;
    sequence.arrivedMs = this.#settings.clock.refresh();
    this.#waiting.push(sequence);
    if (!this.#isStepOpen && !this.#isStepping) this.#start(sequence.arrivedMs);
  }

  /** Ends a sequence at once, in whatever phase, and frees its blocks. Does nothing when it has ended already. */
  abort(sequence: Sequence, cause: AbortCause): void {
    if (!sequence.isOpen) return;
    if (cause === 'client') this.metrics.aborted[abortPhases[sequence.phase]!]++;
    this.metrics.finished[cause === 'client' ? 'abort' : 'error']++;
    if (sequence.phase === Phase.waiting) this.#waiting.remove(sequence);
    else this.#running.splice(this.#running.indexOf(sequence), 1);
    this.cache.give(sequence.blocks);
    sequence.scheduledCount = 0;
    sequence.become(Phase.aborted);
  }

  /** Blocks of the sequence from `first` to before `end` became findable: whoever listens to the cache is told. */
  tellStored(sequence: Sequence, first: number, end: number): void {
    if (first >= end || this.cache.listener === null) return;
    const { blockSize } = this.cache;
    const keys = sequence.blockKeys.slice(first, end);
    this.cache.listener.onStored(
      keys,
      first === 0 ? 0 : sequence.blockKeys[first - 1]!,
      sequence.tokens(first * blockSize, end * blockSize),
    );
  }

  /** Aborts everything and disarms the timer. */
  close(): void {
    this.#isClosed = true;
    this.#disarm?.();
    this.#disarm = null;
    for (const sequence of [...this.#waiting.values(), ...this.#running]) this.abort(sequence, 'server');
  }

  #start(nowMs: number): void {
    this.#stepEndMs = nowMs;
    if (!this.#openStep()) return;
    if (this.#settings.speed === 0) this.#runDueSteps(nowMs);
    else this.#arm(nowMs);
  }

  #arm(nowMs: number): void {
    this.#disarm = this.#settings.timers.arm(
      () => {
        this.#disarm = null;
        this.#runDueSteps(this.#settings.clock.refresh());
      },
      Math.max(0, this.#stepEndMs - nowMs),
    );
  }

  /** Closes the step under way and every further one that ends by `nowMs`, then arms the timer for the next. */
  #runDueSteps(nowMs: number): void {
    if (nowMs - this.#stepEndMs > lagMsMax) this.#stepEndMs = nowMs;
    this.#isStepping = true;
    let tokenCount = 0;
    while (this.#isStepOpen && this.#stepEndMs <= nowMs && tokenCount < tokensPerTurnMax) {
      tokenCount += this.#running.length;
      this.#closeStep();
      this.#openStep();
    }
    this.#isStepping = false;
    if (this.#isStepOpen && !this.#isClosed) this.#arm(nowMs);
  }

  /** Schedules the next step. False when there is nothing to do. */
  #openStep(): boolean {
    const isInstant = this.#settings.speed === 0;
    let budget = isInstant ? Infinity : this.#settings.maxBatchedTokens;
    const preemptionsBefore = this.metrics.preemptions;
    budget = this.#scheduleRunning(budget);
    // After a preemption blocks are short: admitting now would only preempt again.
    if (this.metrics.preemptions === preemptionsBefore) budget = this.#admitWaiting(budget);
    this.#isStepOpen = this.#running.length > 0;
    this.onScheduled();
    if (!this.#isStepOpen) return false;
    this.metrics.steps++;
    if (!isInstant) {
      const ms = stepMs(this.#running, this.#settings) + this.#loadMs;
      this.#stepEndMs += (ms * this.slowFactor()) / this.#settings.speed;
    }
    this.#loadMs = 0;
    return true;
  }

  #scheduleRunning(budgetAtStart: number): number {
    let budget = budgetAtStart;
    for (let index = 0; index < this.#running.length && budget > 0; index++) {
      const sequence = this.#running[index]!;
      const count = Math.min(sequence.tokenCount - sequence.computedCount, budget);
      while (sequence.phase !== Phase.waiting && !this.#tryGrow(sequence, count)) {
        const victim = this.#lastToRun();
        budget += victim.scheduledCount;
        if (this.#running.indexOf(victim) <= index) index--;
        this.#preempt(victim);
      }
      if (sequence.phase === Phase.waiting) continue;
      this.#schedule(sequence, count);
      budget -= count;
    }
    return budget;
  }

  #admitWaiting(budgetAtStart: number): number {
    let budget = budgetAtStart;
    const passed: Sequence[] = [];
    while (budget > 0 && this.#running.length < this.#settings.maxBatchSize) {
      const sequence = this.#waiting.peek();
      if (sequence === undefined) break;
      if (!this.#hasPlaceForAdapter(sequence)) {
        this.#waiting.remove(sequence);
        passed.push(sequence);
        continue;
      }
      const { blockSize } = this.cache;
      const keys = sequence.blockKeys;
      const hitBlocks = this.cache.match(
        keys,
        Math.min(keys.length, Math.floor((sequence.tokenCount - 1) / blockSize)),
      );
      const count = Math.min(sequence.tokenCount - hitBlocks * blockSize, budget);
      const freshBlocks = Math.ceil((hitBlocks * blockSize + count) / blockSize) - hitBlocks;
      if (freshBlocks + this.cache.freeAmong(keys, hitBlocks) > this.cache.freeCount) break;
      this.#waiting.remove(sequence);
      this.#useAdapter(sequence);
      this.cache.takeCached(keys, hitBlocks, sequence.blocks);
      sequence.computedCount = hitBlocks * blockSize;
      sequence.become(Phase.prefill);
      this.#running.push(sequence);
      if (sequence.cachedTokens === -1) {
        sequence.cachedTokens = sequence.computedCount;
        sequence.admittedMs = this.#stepEndMs;
        this.metrics.onAdmitted(sequence);
      }
      const hasGrown = this.#tryGrow(sequence, count);
      assert(hasGrown, 'admitted sequence did not get its blocks');
      this.#schedule(sequence, count);
      budget -= count;
    }
    for (const sequence of passed) this.#waiting.push(sequence);
    return budget;
  }

  #hasPlaceForAdapter({ adapter }: Sequence): boolean {
    if (adapter === '') return true;
    const running = this.#runningAdapters();
    return running.has(adapter) || running.size < this.#settings.loraCountMax;
  }

  #useAdapter({ adapter }: Sequence): void {
    if (adapter === '') return;
    const mustLoad = this.adapters.tryUse(adapter, this.#runningAdapters());
    assert(mustLoad !== null, 'admitted sequence did not get a place for its adapter');
    if (mustLoad) this.#loadMs += this.#settings.loraLoadMs;
  }

  #runningAdapters(): ReadonlySet<string> {
    const names = new Set<string>();
    for (const { adapter } of this.#running) if (adapter !== '') names.add(adapter);
    return names;
  }

  /** Takes blocks until `count` more tokens fit. On false the sequence keeps what it got. */
  #tryGrow(sequence: Sequence, count: number): boolean {
    const blockCount = Math.ceil((sequence.computedCount + count) / this.cache.blockSize);
    while (sequence.blocks.length < blockCount) {
      const block = this.cache.take();
      if (block === -1) return false;
      sequence.blocks.push(block);
    }
    return true;
  }

  /** Puts `count` tokens into the step and makes the blocks they fill findable. */
  #schedule(sequence: Sequence, count: number): void {
    sequence.scheduledCount = count;
    const { blockSize } = this.cache;
    const fullBefore = Math.floor(sequence.computedCount / blockSize);
    const fullAfter = Math.floor((sequence.computedCount + count) / blockSize);
    let first = fullBefore;
    for (let index = fullBefore; index < fullAfter; index++) {
      if (this.cache.tag(sequence.blocks[index]!, sequence.blockKeys[index]!)) continue;
      this.tellStored(sequence, first, index);
      first = index + 1;
    }
    this.tellStored(sequence, first, fullAfter);
  }

  #lastToRun(): Sequence {
    let last = this.#running[0]!;
    for (const sequence of this.#running) if (isBefore(last, sequence)) last = sequence;
    return last;
  }

  #preempt(sequence: Sequence): void {
    this.#running.splice(this.#running.indexOf(sequence), 1);
    this.cache.give(sequence.blocks);
    sequence.computedCount = 0;
    sequence.scheduledCount = 0;
    sequence.become(Phase.waiting);
    this.#waiting.push(sequence);
    this.metrics.preemptions++;
  }

  /** Ends the step: what it computed becomes visible, sequences whose tokens are all computed get one more. */
  #closeStep(): void {
    this.#isStepOpen = false;
    let stepTokens = 0;
    // A copy, because sinks abort and sequences finish while we walk.
    for (const sequence of this.#running.slice()) {
      const count = sequence.scheduledCount;
      if (count === 0 || !sequence.isOpen) continue;
      stepTokens += count;
      sequence.scheduledCount = 0;
      sequence.computedCount += count;
      if (sequence.computedCount === sequence.tokenCount) this.#emit(sequence);
    }
    this.metrics.iterationTokens.observe(stepTokens);
  }

  #emit(sequence: Sequence): void {
    const nowMs = this.#stepEndMs;
    const { plan, sink } = sequence;
    if (plan.tokenCount === 0) {
      sequence.firstTokenMs = nowMs;
      this.metrics.onPrefilled(sequence);
      this.#finish(sequence, plan.finishReason);
      return;
    }
    const token = plan.nextToken();
    sequence.append(token);
    this.metrics.onToken(sequence, nowMs);
    if (sequence.completionTokens === 1) sequence.firstTokenMs = nowMs;
    // A sequence that was preempted while decoding comes through prefill again.
    if (sequence.phase === Phase.prefill) sequence.become(Phase.decode);
    sequence.lastTokenMs = nowMs;
    const isStopped = sink.onToken(sequence, token);
    if (!sequence.isOpen) return;
    if (isStopped) this.#finish(sequence, 'stop');
    else if (sequence.completionTokens === plan.tokenCount) this.#finish(sequence, plan.finishReason);
  }

  #finish(sequence: Sequence, reason: FinishReason): void {
    this.#running.splice(this.#running.indexOf(sequence), 1);
    this.cache.give(sequence.blocks);
    sequence.become(Phase.finished);
    this.metrics.onFinished(sequence, reason, this.#stepEndMs);
    sequence.sink.onFinish(sequence, reason);
  }
}
