import type { PrefixHorizon } from '../../shm/index.ts';

/**
 * Holds the index's belief about one endpoint's cache to what its engine says of it, four times a second:
 *
 * - **Others use it too.** What the engine stored, and nothing that was sent there explains, came from elsewhere, or was evicted before
 *   the index thought so. Either way it pushed out what was used longest ago, so it is counted as used. Prompts are counted by the
 *   index before they are stored, answers when they end, so some is always under way, either way.
 * - **It holds less than was thought**: an engine that evicts is full, so what it holds then is what it can hold.
 * - **It holds less than is believed**: prompts that were never computed, a clear that was missed. The oldest are let go.
 *
 * A measurement counts when the next one agrees, since events and the index's own counts do not come at the same instant.
 */
export interface Place {
  readonly horizon: PrefixHorizon;
  /** The endpoint's number in the index. */
  readonly ordinal: number;
}

export interface EngineReport {
  /** Since the start. */
  readonly storedTokens: number;
  readonly removedTokens: number;
  /** Null when it is not known. */
  readonly fillTokens: number | null;
  /** Requests under way, through this gateway and those that share with it. */
  readonly inflightCount: number;
  /** Of their prompts, what is not cached there and has not been answered yet. */
  readonly pendingTokens: number;
}

/** Of answers, before one has ended. */
const answerTokensDefault = 256;
/** Weight of the last answer in the mean of their lengths. */
const answerWeight = 0.05;
/** Belief is in bytes, and tokens are not all as long as the mean: so far it may be off. */
const beliefRatioMax = 2;
/** Bytes of a token, beyond which prompts are of something else than text, whose bytes say nothing of tokens. */
const textTokenBytesMax = 20;
const slackTokens = 1024;
/** Weight of a new measurement of what a full cache holds. */
const fullWeight = 0.3;
/** A capacity that moved less is left alone. */
const changeMin = 0.01;

export class Calibration {
  readonly #place: Place;
  /** Sets what the cache holds in tokens. */
  readonly #setTokens: (tokens: number) => void;
  #lastArrived: number;
  /** What arrived between the last two looks: its events may come a little later. */
  #arrivedTokens = 0;
  #lastUnnamed: number;
  #lastUnnamedCount: number;
  #answerTokens = answerTokensDefault;
  #lastStored = 0;
  #lastRemoved = 0;
  /** Stored by the engine, less what was new to the index. */
  #unexplained = 0;
  #lastExcess = 0;
  #lastShortage = 0;
  #fullTokens = NaN;
  #isOverBelief = false;
  /** Since the start: stored without anything sent there that explains it. */
  foreignTokens = 0;

  constructor(place: Place, report: EngineReport, setTokens: (tokens: number) => void) {
    this.#place = place;
    this.#setTokens = setTokens;
    this.#lastArrived = place.horizon.arrivedSize(place.ordinal);
    this.#lastUnnamed = place.horizon.unnamedSize(place.ordinal);
    this.#lastUnnamedCount = place.horizon.unnamedCount(place.ordinal);
    this.#lastStored = report.storedTokens;
    this.#lastRemoved = report.removedTokens;
  }

  /** What the index believes to be held, in tokens. */
  get believedTokens(): number {
    const { horizon, ordinal } = this.#place;
    return Math.round(horizon.heldSize(ordinal) / this.#tokenBytes);
  }

  get capacityTokens(): number {
    const { horizon, ordinal } = this.#place;
    return horizon.tokens(ordinal);
  }

  /** The cache was found empty, and the index emptied with it. */
  restart(report: EngineReport): void {
    this.#lastArrived = this.#place.horizon.arrivedSize(this.#place.ordinal);
    this.#lastStored = report.storedTokens;
    this.#lastRemoved = report.removedTokens;
    this.#unexplained = 0;
    this.#lastExcess = 0;
    this.#lastShortage = 0;
    this.#isOverBelief = false;
  }

  look(report: EngineReport): void {
    this.#learnAnswers();
    this.#weighFlow(report);
    this.#weighFill(report);
    this.#lastStored = report.storedTokens;
    this.#lastRemoved = report.removedTokens;
  }

  get #tokenBytes(): number {
    const { horizon, ordinal } = this.#place;
    return Math.max(1, horizon.capacity(ordinal) / Math.max(1, horizon.tokens(ordinal)));
  }

  #learnAnswers(): void {
    const { horizon, ordinal } = this.#place;
    const size = horizon.unnamedSize(ordinal);
    const count = horizon.unnamedCount(ordinal);
    const newCount = (count - this.#lastUnnamedCount) | 0; // Counts wrap.
    if (newCount > 0) {
      const tokens = ((size - this.#lastUnnamed) | 0) / newCount / this.#tokenBytes;
      this.#answerTokens += (1 - (1 - answerWeight) ** newCount) * (tokens - this.#answerTokens);
    }
    this.#lastUnnamed = size;
    this.#lastUnnamedCount = count;
  }

  #weighFlow({ storedTokens, inflightCount, pendingTokens }: EngineReport): void {
    const { horizon, ordinal } = this.#place;
    const arrived = horizon.arrivedSize(ordinal);
    const arrivedTokens = ((arrived - this.#lastArrived) | 0) / this.#tokenBytes;
    const recentTokens = arrivedTokens + this.#arrivedTokens;
    this.#lastArrived = arrived;
    this.#arrivedTokens = arrivedTokens;
    this.#unexplained += storedTokens - this.#lastStored - arrivedTokens;
    const excess = this.#unexplained - inflightCount * this.#answerTokens;
    const foreign = Math.min(excess, this.#lastExcess);
    this.#lastExcess = excess;
    if (foreign > 0) {
      // Once round, and all of ours is out, whatever the engine claims.
      horizon.pushOut(ordinal, Math.round(Math.min(foreign * this.#tokenBytes, 2 * horizon.capacity(ordinal))));
      this.foreignTokens += Math.round(foreign);
      this.#unexplained -= foreign;
      this.#lastExcess -= foreign;
    }
    // What was thought to be new and is not stored either: it was there already, or its request failed.
    const shortage = -this.#unexplained - pendingTokens - recentTokens;
    const given = Math.min(shortage, this.#lastShortage);
    this.#lastShortage = shortage;
    if (given > 0) {
      this.#unexplained += given;
      this.#lastShortage -= given;
    }
  }

  #weighFill({ fillTokens, removedTokens, pendingTokens }: EngineReport): void {
    if (fillTokens === null) {
      this.#isOverBelief = false;
      return;
    }
    const { horizon, ordinal } = this.#place;
    if (removedTokens > this.#lastRemoved) {
      const before = Number.isNaN(this.#fullTokens) ? fillTokens : this.#fullTokens;
      this.#fullTokens = before + fullWeight * (fillTokens - before);
      this.#hold(Math.round(this.#fullTokens));
    } else if (fillTokens > this.capacityTokens) this.#hold(fillTokens);
    const most = fillTokens * beliefRatioMax + pendingTokens + slackTokens;
    const isOverBelief = this.believedTokens > most && this.#tokenBytes < textTokenBytesMax;
    if (isOverBelief && this.#isOverBelief) horizon.trim(ordinal, Math.round(most * this.#tokenBytes));
    this.#isOverBelief = isOverBelief;
  }

  #hold(tokens: number): void {
    const before = this.capacityTokens;
    if (tokens > 0 && Math.abs(tokens - before) > before * changeMin) this.#setTokens(tokens);
  }
}
