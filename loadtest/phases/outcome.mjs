/**
 * Counts how an exchange ended.
 * @param {import('../phase-recorder.mjs').PhaseRecorder} recorder
 * @param {import('../client/checked-exchange.mjs').Outcome} outcome
 */
export function noteOutcome(recorder, { status, isComplete, wrong, receivedBytes }) {
  recorder.receivedBytes += receivedBytes;
  if (isComplete) recorder.countAnswer();
  if (wrong === null) return;
  if (status !== 0 && status !== 200) recorder.non2xx.add(wrong);
  else if (isComplete) recorder.mismatches.add(wrong);
  else recorder.errors.add(wrong);
}

/**
 * Said as it should be: to come again later.
 * @param {import('../client/checked-exchange.mjs').Outcome} outcome
 */
export function isRightRefusal({ status, isComplete, retryAfter }) {
  return isComplete && (status === 503 || status === 429) && retryAfter !== undefined;
}
