import { setFlagsFromString } from 'node:v8';

/**
 * `runtime.code_from_strings: reject`: `eval` and `new Function` throw in every thread started from then on, that is in shards
 * and their workers, where bytes of strangers are handled. It is V8's `--disallow-code-generation-from-strings`, which counts
 * when a thread is made; on the command line it would also hold for the log's thread, whose library needs `new Function`
 * to load itself. So the log's thread suspends the rule while it starts.
 */
let isRejecting = false;
let suspendedCount = 0;

export function rejectCodeFromStrings(): void {
  isRejecting = true;
  apply();
}

/** Call the result once, when the thread has started or has failed to. */
export function suspendRejection(): () => void {
  suspendedCount++;
  apply();
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    suspendedCount--;
    apply();
  };
}

function apply(): void {
  const rejects = isRejecting && suspendedCount === 0;
  setFlagsFromString(`--${rejects ? '' : 'no-'}disallow-code-generation-from-strings`);
}
