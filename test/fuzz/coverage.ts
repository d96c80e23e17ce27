import { Session } from 'node:inspector';

interface ScriptCoverage {
  readonly url: string;
  readonly functions: readonly {
    readonly ranges: readonly { readonly startOffset: number; readonly endOffset: number; readonly count: number }[];
  }[];
}

/**
 * Which blocks of the code under test have run, by V8's own counters. Reading them takes half a millisecond, so it is done
 * once for a batch of inputs. WebAssembly has no such counters; the plain reader beside each target has the same branches in
 * JavaScript, and is counted too.
 *
 * Jazzer.js, the maintained fuzzer for Node, was tried first (4.0.0): its native part needs glibc 2.38, the acceptor's 2.27.
 */
export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();
  readonly #isWanted: (url: string) => boolean;

  constructor(isWanted: (url: string) => boolean) {
    this.#isWanted = isWanted;
    this.#session.connect();
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** Blocks seen so far. */
  get count(): number {
    return this.#seen.size;
  }

  /** What ran since the last look and never before. */
  look(): string[] {
    const fresh: string[] = [];
    for (const block of this.ran()) {
      if (this.#seen.has(block)) continue;
      this.#seen.add(block);
      fresh.push(block);
    }
    return fresh;
  }

  /** What ran since the last look, which this is too. */
  ran(): Set<string> {
    const blocks = new Set<string>();
    const { result } = this.#post('Profiler.takePreciseCoverage') as { result: readonly ScriptCoverage[] };
    for (const { url, functions } of result) {
      if (!this.#isWanted(url)) continue;
      const file = url.slice(url.lastIndexOf('/') + 1);
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          if (count > 0) blocks.add(`${file}:${startOffset}-${endOffset}`);
        }
      }
    }
    return blocks;
  }

  close(): void {
    this.#session.disconnect();
  }

  /** The session answers before `post` returns, because it is of this thread. */
  #post(method: string, params: object = {}): unknown {
    let answer: unknown;
    this.#session.post(method, params, (error: Error | null, result?: object) => {
      if (error !== null) throw error;
      answer = result;
    });
    return answer;
  }
}
