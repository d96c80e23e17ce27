/** Draws what the clients of a run do: sizes, framing, pace, and in which phase some of them leave, and how. */
import { oneOf, sizeBetween, wholeBetween } from './random.mjs';

/** @typedef {'none' | 'head' | 'uploading' | 'queued' | 'connecting' | 'waiting' | 'streaming' | 'paused' | 'after'} Leave */
/** @typedef {'fin' | 'rst' | 'half_close'} How */
/**
 * @typedef {object} ClientPlan
 * @property {import('./content.mjs').Plan} plan
 * @property {Leave} leave
 * @property {How} how
 * @property {number} delayMs after the moment that `leave` names, before it leaves
 * @property {number} share of the head, of the body, or of the answer, that is sent or read before
 * @property {boolean} isChunked the upload
 * @property {number} uploadGapMs between two pieces of the upload; 0: as one
 * @property {number} readGapMs the client rests this long after each read; 0: never
 */

/** How often clients leave in each phase. @type {Readonly<Record<Leave, number>>} */
const chaosLeaves = {
  none: 55,
  head: 4,
  uploading: 8,
  queued: 5,
  connecting: 2,
  waiting: 9,
  streaming: 12,
  paused: 0.3,
  after: 5,
};
/** As in a quiet week. @type {Readonly<Record<Leave, number>>} */
const mixedLeaves = { ...chaosLeaves, none: 900, paused: 0.1 };

/** Larger than what the kernel's buffers of both connections take, so that the gateway has to stop reading. */
const pausedEventBytes = 60_000;
const pausedEventCount = 300;

/**
 * @param {{ random: () => number, number: number, run: string, mix: 'chaos' | 'mixed' }} options
 * @returns {ClientPlan}
 */
export function drawPlan({ random, number, run, mix }) {
  const leave = oneOf(random, mix === 'chaos' ? chaosLeaves : mixedLeaves);
  const isNarrow = leave === 'queued' || (leave === 'none' && random() < 0.04);
  const isBodyless = leave === 'none' && !isNarrow && random() < 0.03;
  const isPaused = leave === 'paused';
  const kind = isPaused || (!isBodyless && (leave === 'streaming' || random() < 0.5)) ? 'stream' : 'plain';
  const isPaced = kind === 'stream' && !isPaused && random() < 0.3;
  const framing = oneOf(
    random,
    kind === 'stream' ? { chunked: 90, close: 7, length: 3 } : { length: 70, chunked: 25, close: 5 },
  );
  const needsDelay = leave === 'waiting' || isNarrow;
  /** @type {import('./content.mjs').Plan} */
  const plan = {
    token: `${run}-${number.toString(36)}`,
    number,
    model: leave === 'connecting' ? 'hole' : isNarrow ? 'narrow' : 'main',
    fillBytes: isBodyless ? -1 : fillBytesOf(random, leave),
    isModelLast: random() < 0.5,
    kind,
    framing: isPaused ? 'chunked' : framing,
    eventCount: isPaused ? pausedEventCount : wholeBetween(random, 0, isPaced ? 12 : 60),
    answerBytes: isPaused ? pausedEventBytes : answerBytesOf(random, kind),
    firstDelayMs: needsDelay ? wholeBetween(random, 5, 40) : random() < 0.5 ? 0 : wholeBetween(random, 1, 10),
    gapMs: isPaced ? wholeBetween(random, 1, 8) : 0,
    isClean: random() < 0.5,
    leave,
  };
  return {
    plan,
    leave,
    how: oneOf(random, { fin: 50, rst: 35, half_close: 15 }),
    delayMs: leave === 'paused' ? wholeBetween(random, 100, 400) : random() < 0.3 ? 0 : wholeBetween(random, 0, 20),
    share: random(),
    isChunked: !isBodyless && plan.fillBytes < 200_000 && random() < 0.05,
    uploadGapMs: random() < 0.1 ? wholeBetween(random, 1, 5) : 0,
    readGapMs: leave === 'none' && random() < 0.02 ? wholeBetween(random, 1, 10) : 0,
  };
}

/** 0 to 3 MB; most are small, as most prompts of agents are not. @param {() => number} random @param {Leave} leave */
function fillBytesOf(random, leave) {
  const size = oneOf(random, { none: 2, small: 58, middle: 30, large: 8, huge: leave === 'uploading' ? 6 : 2 });
  if (size === 'none') return 0;
  if (size === 'small') return sizeBetween(random, 100, 4000);
  if (size === 'middle') return sizeBetween(random, 4000, 64_000);
  return size === 'large' ? sizeBetween(random, 64_000, 500_000) : sizeBetween(random, 500_000, 3_000_000);
}

/** @param {() => number} random @param {'stream' | 'plain'} kind */
function answerBytesOf(random, kind) {
  if (kind === 'stream') return random() < 0.9 ? wholeBetween(random, 1, 40) : sizeBetween(random, 40, 4000);
  return random() < 0.9
    ? sizeBetween(random, 10, 8000)
    : random() < 0.9
      ? sizeBetween(random, 8000, 200_000)
      : sizeBetween(random, 200_000, 3_000_000);
}
