import { fail } from '../core/assert.ts';

/**
 * One direction of an exchange. The two halves end independently: an upstream may answer before the upload is over.
 *
 *   idle ──▶ head ──▶ body ──▶ done
 *     │        │ └──────────────▲
 *     └────────┴───────┴──▶ failed
 *
 * `done` and `failed` are terminal: a late chunk must not revive a half that failed.
 */
export const Half = { idle: 0, head: 1, body: 2, done: 3, failed: 4 } as const;
export type Half = (typeof Half)[keyof typeof Half];

export const halfNames: readonly string[] = ['idle', 'head', 'body', 'done', 'failed'];

function setOf(...states: readonly Half[]): number {
  return states.reduce<number>((set, state) => set | (1 << state), 0);
}

/** successors[from] is the bit set of legal next states. */
const successors: readonly number[] = [
  /* idle   */ setOf(Half.head, Half.failed),
  /* head   */ setOf(Half.body, Half.done, Half.failed),
  /* body   */ setOf(Half.done, Half.failed),
  /* done   */ setOf(),
  /* failed */ setOf(),
];

export class HalfStream {
  #state: Half = Half.idle;

  get state(): Half {
    return this.#state;
  }

  get isOpen(): boolean {
    return this.#state < Half.done;
  }

  get isDone(): boolean {
    return this.#state === Half.done;
  }

  get name(): string {
    return halfNames[this.#state]!;
  }

  /** The only writer of `state`. Throws on a transition the table does not list: that is our bug, never a peer's. */
  become(next: Half): void {
    if ((successors[this.#state]! & (1 << next)) === 0) fail('illegal half transition', this.#state, next);
    this.#state = next;
  }

  /** Ends the half when it is still open; does nothing when it has already ended. */
  failIfOpen(): void {
    if (this.#state < Half.done) this.#state = Half.failed;
  }

  /** A new life of the pooled record. Only the exchange pool calls it, after close. */
  recycle(): void {
    this.#state = Half.idle;
  }
}
