/** What a scripted engine does wrong, and how often. Drawn for each attempt by itself: a retry may meet another fault, or none. */
import { oneOf } from './random.mjs';

/** Weights among the faults. */
const weights = /** @type {const} */ ({
  /** RST when the head is here, or in the middle of the upload. */
  reset_early: 3,
  /** FIN, likewise. */
  close_early: 3,
  /** RST, FIN after the request, before any answer. */
  reset_waiting: 3,
  close_waiting: 3,
  /** The answer breaks off: FIN, RST at a random byte. */
  truncate: 5,
  reset_answering: 5,
  /** Ends in order, without the last event and [DONE]. */
  lost_end: 3,
  /** No HTTP at all; chunk framing that is none, in the middle. */
  garbage_head: 2,
  garbage_chunk: 3,
  /** Says nothing, or stops saying anything, until it is cut off. */
  stall_waiting: 1,
  stall_answering: 1,
  status_500: 3,
  status_503: 3,
  status_429: 2,
  /** A second, false answer behind the first: must not reach whoever is next on the connection. */
  excess: 4,
  /** Answers before it has read the request, and closes. */
  answer_early: 3,
  /** 103 and 100 before the answer: not wrong, and not to be passed on. */
  interim: 3,
});

/** @typedef {keyof typeof weights | 'none'} Fault */

/** @param {() => number} random @param {number} ratio of all attempts @returns {Fault} */
export function drawFault(random, ratio) {
  return random() < ratio ? oneOf(random, weights) : 'none';
}
