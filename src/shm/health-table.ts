import { fail } from '../core/assert.ts';
import { ejectionPeriodMs, nextEjectionCount, remainingEjections } from './ejection.ts';
import type { EjectionRule } from './ejection.ts';
import { Fault } from './fault.ts';
import { healthRowCount, recordAt, recordShift, rowShift, wholeRow, Word } from './health-record.ts';
import type { SharedMemory } from './memory.ts';

const allModels = 0xffff;
const int32Max = 0x7fff_ffff;
const ewmaTriesMax = 16;
const ewmaAlpha = 0.2;
/** Where a slow start begins. */
const coldShare = 0.1;

/** Bit set: the records an attempt is the probe of. */
export const Probe = { none: 0, whole: 1, model: 2 } as const;

/** An attempt whose outcome is noted: where, and what it is the probe of. */
export interface Attempt {
  readonly slot: number;
  readonly row: number;
  /** Bit set of `Probe`. */
  readonly probes: number;
  readonly nowMs: number;
}

export interface FaultyAttempt extends Attempt {
  readonly fault: Fault;
  readonly rule: EjectionRule;
  /** Models the endpoint serves, as far as they have rows: with one, what is bad for it is bad altogether. */
  readonly modelCount: number;
  /** False where so many of the pool are out that no other may leave. */
  readonly mayEject: boolean;
}

/** What one record says, for people. */
export interface HealthView {
  readonly answers: number;
  readonly faults: number;
  readonly isOut: boolean;
  readonly isOnProbation: boolean;
  /** Of the last ejection, `Fault.none` before the first. */
  readonly reason: Fault;
  /** Clock reading of the last ejection. */
  readonly ejectedAtMs: number;
  /** How long it stays out; 0 when it is in. */
  readonly outForMs: number;
  readonly ejections: number;
  /** 0 when none was seen. */
  readonly ttftMs: number;
  /** Of streams, or where there were none, of answers that came whole. */
  readonly tokenGapMs: number;
}

/**
 * What all threads think of every endpoint: as a whole, and for each model it serves.
 *
 *              faults in a row               period over, or recalled
 *   trusted ───────────────────▶ ejected ───────────────────────────▶ probation
 *      ▲                            ▲                                     │  one attempt at a time, over all shards
 *      │                            └──── it failed: twice as long ◀──────┤
 *      └───────── slow start ◀────────────────── it went well ◀───────────┘
 */
export class HealthTable {
  readonly #words: Int32Array;
  /** What this shard writes into a prober's place. */
  readonly #own: number;
  readonly #endpointCountMax: number;

  /** `shardIndex` is -1 for control. */
  constructor(memory: SharedMemory, shardIndex: number) {
    this.#words = new Int32Array(memory.health);
    this.#own = shardIndex + 1;
    this.#endpointCountMax = memory.endpointCountMax;
  }

  // Control.

  /** Another endpoint has the slot from now on. */
  clear(slot: number): void {
    for (let row = 0; row < healthRowCount; row++) this.clearRow(slot, row);
  }

  /** Another model has the row from now on. A probe under way still gives back its place: that is left alone. */
  clearRow(slot: number, row: number): void {
    const at = recordAt(slot, row);
    for (let word = 0; word < 1 << recordShift; word++) {
      if (word !== Word.prober) Atomics.store(this.#words, at + word, 0);
    }
  }

  /** The endpoint has come, or come back: its share grows from here on. */
  warmUp(slot: number, nowMs: number): void {
    Atomics.store(this.#words, recordAt(slot, wholeRow) + Word.warmFrom, deciseconds(nowMs));
  }

  /** The endpoint accepts connections again: it need not sit out its time. False when it is not out, or for another reason. */
  recall(slot: number, nowMs: number): boolean {
    const at = recordAt(slot, wholeRow);
    const until = Atomics.load(this.#words, at + Word.outUntil);
    if (nowMs >= until * 100 || this.#word(at, Word.reason) !== Fault.connect) return false;
    return Atomics.compareExchange(this.#words, at + Word.outUntil, until, Math.floor(nowMs / 100)) === until;
  }

  /** Once the thread of a shard has ended: what it was probing may be probed by others. */
  reclaimShard(shardIndex: number): void {
    for (let record = 0; record < this.#endpointCountMax << rowShift; record++) {
      Atomics.compareExchange(this.#words, (record << recordShift) + Word.prober, shardIndex + 1, 0);
    }
  }

  // Any thread.

  /** Out of the pick: ejected and not due yet, or asked to be left alone. `row`: of the request's model. */
  isOut(slot: number, row: number, nowMs: number): boolean {
    return this.#isRecordOut(recordAt(slot, wholeRow), nowMs) || this.#isRecordOut(recordAt(slot, row), nowMs);
  }

  /** How long it stays out of the pick for that model; 0 when it is in. */
  outForMs(slot: number, row: number, nowMs: number): number {
    return Math.max(
      this.#recordOutForMs(recordAt(slot, wholeRow), nowMs),
      this.#recordOutForMs(recordAt(slot, row), nowMs),
    );
  }

  /** Ejected, and no probe has gone well since: out, or on probation. */
  isDistrusted(slot: number, row: number): boolean {
    return (this.#word(recordAt(slot, wholeRow), Word.distrust) | this.#word(recordAt(slot, row), Word.distrust)) !== 0;
  }

  /** Somebody probes it: no other attempt may be made for now. Asked only of what is distrusted. */
  isBeingProbed(slot: number, row: number): boolean {
    return this.#isRecordProbed(recordAt(slot, wholeRow)) || this.#isRecordProbed(recordAt(slot, row));
  }

  /** The fault the endpoint as a whole was last ejected for. */
  reason(slot: number): Fault {
    return this.#word(recordAt(slot, wholeRow), Word.reason) as Fault;
  }

  ejections(slot: number): number {
    return this.#word(recordAt(slot, wholeRow), Word.ejections);
  }

  /** What part of its usual share it may have, 0.1 .. 1, while it is new or just back. */
  share(slot: number, row: number, nowMs: number, slowStartMs: number): number {
    if (slowStartMs === 0) return 1;
    const whole = this.#word(recordAt(slot, wholeRow), Word.warmFrom);
    const warmMs = nowMs - Math.max(whole, this.#word(recordAt(slot, row), Word.warmFrom)) * 100;
    return warmMs >= slowStartMs ? 1 : coldShare + (1 - coldShare) * (Math.max(0, warmMs) / slowStartMs);
  }

  /** Milliseconds to the first token of a stream, smoothed; 0 when none was seen. */
  ttftMs(slot: number, row: number): number {
    return this.#word(recordAt(slot, row), Word.ttft) / 1000;
  }

  /** Milliseconds a token, smoothed; 0 when none was seen. Of streams, or of answers that came whole: those count the prompt too. */
  tokenGapMs(slot: number, row: number, isStream: boolean): number {
    return this.#word(recordAt(slot, row), isStream ? Word.tokenGap : Word.answerGap) / 1000;
  }

  view(slot: number, row: number, nowMs: number): HealthView {
    const at = recordAt(slot, row);
    const outForMs = this.#recordOutForMs(at, nowMs);
    return {
      answers: this.#word(at, Word.answers) >>> 0,
      faults: this.#word(at, Word.faults) >>> 0,
      isOut: outForMs > 0,
      isOnProbation: outForMs === 0 && this.#word(at, Word.distrust) === 1,
      reason: this.#word(at, Word.reason) as Fault,
      ejectedAtMs: this.#word(at, Word.ejectedAt) * 100,
      outForMs,
      ejections: this.#word(at, Word.ejections),
      ttftMs: this.ttftMs(slot, row),
      tokenGapMs: this.tokenGapMs(slot, row, true) || this.tokenGapMs(slot, row, false),
    };
  }

  // Shards.

  /**
   * Called with the place of the attempt. Bit set of `Probe`: what the attempt is the probe of, none where all is well. -1:
   * somebody else is probing, or has just found it bad.
   */
  tryTakeProbes(slot: number, row: number, nowMs: number): number {
    let probes: number = Probe.none;
    if (this.#word(recordAt(slot, wholeRow), Word.distrust) !== 0) {
      if (!this.#tryProbe(recordAt(slot, wholeRow), nowMs)) return -1;
      probes |= Probe.whole;
    }
    if (this.#word(recordAt(slot, row), Word.distrust) !== 0) {
      if (!this.#tryProbe(recordAt(slot, row), nowMs)) {
        this.giveProbes(slot, row, probes);
        return -1;
      }
      probes |= Probe.model;
    }
    return probes;
  }

  giveProbes(slot: number, row: number, probes: number): void {
    if ((probes & Probe.whole) !== 0) this.#giveProbe(recordAt(slot, wholeRow));
    if ((probes & Probe.model) !== 0) this.#giveProbe(recordAt(slot, row));
  }

  /** Blends one time to first token in. A sample is dropped rather than waited for when other threads keep winning. */
  noteTtft(slot: number, row: number, ms: number): void {
    this.#blend(recordAt(slot, wholeRow) + Word.ttft, ms);
    this.#blend(recordAt(slot, row) + Word.ttft, ms);
  }

  /** As `noteTtft`, for the mean time a token took in one answer. */
  noteTokenGap(slot: number, row: number, isStream: boolean, ms: number): void {
    const word = isStream ? Word.tokenGap : Word.answerGap;
    this.#blend(recordAt(slot, wholeRow) + word, ms);
    this.#blend(recordAt(slot, row) + word, ms);
  }

  /** A good answer came. `heals`: the last of the faults, in their order, that such an answer can take back. */
  noteAnswer(attempt: Attempt, heals: Fault): void {
    const { slot, row, probes, nowMs } = attempt;
    Atomics.add(this.#words, recordAt(slot, wholeRow) + Word.answers, 1);
    Atomics.add(this.#words, recordAt(slot, row) + Word.answers, 1);
    this.#clearFailures(recordAt(slot, wholeRow), heals);
    this.#clearFailures(recordAt(slot, row), heals);
    // Nobody is kept on probation because answers are too short to show a pace.
    const proves = heals === Fault.empty ? Fault.slow : heals;
    if (this.#word(recordAt(slot, wholeRow), Word.reason) <= proves)
      this.noteProven(slot, row, probes & Probe.whole, nowMs);
    if (this.#word(recordAt(slot, row), Word.reason) <= proves) this.noteProven(slot, row, probes & Probe.model, nowMs);
  }

  /** The probe went well, or as well as can be said of a stream that goes on. The slow start begins. */
  noteProven(slot: number, row: number, probes: number, nowMs: number): void {
    if ((probes & Probe.whole) !== 0) this.#prove(recordAt(slot, wholeRow), nowMs);
    if ((probes & Probe.model) !== 0) this.#prove(recordAt(slot, row), nowMs);
  }

  /**
   * Bit set of `Probe`: what this very call ejected, the endpoint as a whole or for the model; of several threads that see the
   * last straw one wins. The whole endpoint goes when faults in a row were of several models, or it serves only one, or
   * cannot be connected to.
   */
  noteFault(attempt: FaultyAttempt): number {
    const { slot, row, fault, modelCount } = attempt;
    const whole = recordAt(slot, wholeRow);
    const model = recordAt(slot, row);
    Atomics.add(this.#words, whole + Word.faults, 1);
    Atomics.add(this.#words, model + Word.faults, 1);
    Atomics.store(this.#words, whole + Word.lastFault, fault);
    Atomics.store(this.#words, model + Word.lastFault, fault);
    const failed = fault === Fault.connect ? allModels : 1 << row;
    const failedModels = Atomics.or(this.#words, whole + Word.failedModels, failed) | failed;
    const isSeveral = (failedModels & (failedModels - 1)) !== 0;
    const isWhole = modelCount <= 1 || isSeveral;
    let ejected: number = Probe.none;
    if (this.#countFault(whole, attempt, Probe.whole, isWhole)) ejected |= Probe.whole;
    if (modelCount > 1 && this.#countFault(model, attempt, Probe.model, ejected === Probe.none)) ejected |= Probe.model;
    return ejected;
  }

  /** The endpoint asked to be left alone, for that row's model: it is out of the pick for `periodMs`. */
  coolDown(slot: number, row: number, nowMs: number, periodMs: number): void {
    const at = recordAt(slot, row) + Word.coolUntil;
    const next = Math.ceil((nowMs + periodMs) / 100);
    for (;;) {
      const until = Atomics.load(this.#words, at);
      if (until >= next || Atomics.compareExchange(this.#words, at, until, next) === until) return;
    }
  }

  #countFault(at: number, attempt: FaultyAttempt, probe: number, isGrave: boolean): boolean {
    const { rule, nowMs, fault, probes, mayEject } = attempt;
    const failures = Atomics.add(this.#words, at + Word.failures, 1) + 1;
    const until = this.#word(at, Word.outUntil);
    const isDistrusted = this.#word(at, Word.distrust) === 1;
    // While it is out, and then until its probe is over, attempts that began before say nothing new.
    if (nowMs < until * 100 || !mayEject) return false;
    if (isDistrusted ? (probes & probe) === 0 : !isGrave || failures < rule.consecutiveFailures) return false;
    const quietMs = isDistrusted ? 0 : nowMs - Math.max(until, this.#word(at, Word.warmFrom)) * 100;
    const count = remainingEjections(this.#word(at, Word.ejections), quietMs, rule);
    const next = Math.ceil((nowMs + ejectionPeriodMs(count, rule)) / 100);
    if (Atomics.compareExchange(this.#words, at + Word.outUntil, until, next) !== until) return false;
    Atomics.store(this.#words, at + Word.ejections, nextEjectionCount(count, rule));
    Atomics.store(this.#words, at + Word.reason, fault);
    Atomics.store(this.#words, at + Word.ejectedAt, deciseconds(nowMs));
    Atomics.store(this.#words, at + Word.distrust, 1);
    return true;
  }

  #clearFailures(at: number, heals: Fault): void {
    if (this.#word(at, Word.failures) === 0 || this.#word(at, Word.distrust) === 1) return;
    if (this.#word(at, Word.lastFault) > heals) return;
    Atomics.store(this.#words, at + Word.failedModels, 0);
    Atomics.store(this.#words, at + Word.failures, 0);
  }

  #prove(at: number, nowMs: number): void {
    Atomics.store(this.#words, at + Word.failedModels, 0);
    Atomics.store(this.#words, at + Word.failures, 0);
    Atomics.store(this.#words, at + Word.warmFrom, deciseconds(nowMs));
    Atomics.store(this.#words, at + Word.distrust, 0);
  }

  #tryProbe(at: number, nowMs: number): boolean {
    if (this.#own === 0) fail('control probes nothing');
    if (Atomics.compareExchange(this.#words, at + Word.prober, 0, this.#own) !== 0) return false;
    if (!this.#isRecordOut(at, nowMs)) return true;
    this.#giveProbe(at);
    return false;
  }

  #giveProbe(at: number): void {
    const prober = Atomics.compareExchange(this.#words, at + Word.prober, this.#own, 0);
    if (prober !== this.#own) fail('probe given back by another than its holder', at, prober);
  }

  #isRecordProbed(at: number): boolean {
    return this.#word(at, Word.distrust) === 1 && this.#word(at, Word.prober) !== 0;
  }

  #isRecordOut(at: number, nowMs: number): boolean {
    return this.#recordOutForMs(at, nowMs) > 0;
  }

  #recordOutForMs(at: number, nowMs: number): number {
    return Math.max(0, Math.max(this.#word(at, Word.outUntil), this.#word(at, Word.coolUntil)) * 100 - nowMs);
  }

  #blend(at: number, ms: number): void {
    const sample = Math.min(int32Max, Math.max(1, Math.round(ms * 1000)));
    let old = Atomics.load(this.#words, at);
    for (let tries = 0; tries < ewmaTriesMax; tries++) {
      const blended = old === 0 ? sample : Math.max(1, Math.round(old + ewmaAlpha * (sample - old)));
      const seen = Atomics.compareExchange(this.#words, at, old, blended);
      if (seen === old) return;
      old = seen;
    }
  }

  #word(at: number, word: number): number {
    return this.#words[at + word]!; // Asked for every endpoint of every pick: prefix-index says why without Atomics.
  }
}

function deciseconds(ms: number): number {
  return Math.floor(ms / 100);
}
