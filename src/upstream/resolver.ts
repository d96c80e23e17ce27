import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';

/**
 * Name look-ups for endpoint connections. `getaddrinfo` occupies one of four libuv threads for as long as the resolver
 * hangs, so each name is asked for once at a time, kept for `freshMs`, and its last good addresses serve when it fails.
 * Addresses are used in turn.
 */
const freshMs = 10_000;

interface Entry {
  addresses: readonly LookupAddress[];
  readMs: number;
  isAsking: boolean;
  turn: number;
  readonly waiting: ((error: NodeJS.ErrnoException | null) => void)[];
}

type Lookup = (
  host: string,
  done: (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void,
) => void;

function askSystem(host: string, done: Parameters<Lookup>[1]): void {
  systemLookup(host, { all: true }, (error, addresses) => done(error, addresses ?? []));
}

export class Resolver {
  readonly #entries = new Map<string, Entry>();
  readonly #nowMs: () => number;
  readonly #ask: Lookup;

  constructor(nowMs: () => number, ask: Lookup = askSystem) {
    this.#nowMs = nowMs;
    this.#ask = ask;
  }

  /** In the shape of `net.connect`'s `lookup` option. */
  readonly lookup: LookupFunction = (host, options, done) => {
    const family = isIP(host);
    const entry = this.#entry(host);
    const answer = (error: NodeJS.ErrnoException | null): void => {
      const found = entry.addresses[entry.turn++ % Math.max(1, entry.addresses.length)];
      if (found === undefined) {
        done(error ?? Object.assign(new Error(`no address for ${host}`), { code: 'ENOTFOUND' }), '', 0);
      } else if (options.all === true) {
        done(null, [found]);
      } else {
        done(null, found.address, found.family);
      }
    };
    if (family !== 0) entry.addresses = [{ address: host, family }];
    else if (this.#nowMs() - entry.readMs >= freshMs) {
      if (entry.addresses.length === 0) {
        entry.waiting.push(answer);
        this.#refresh(host, entry);
        return;
      }
      this.#refresh(host, entry); // The last good addresses serve meanwhile.
    }
    answer(null);
  };

  #entry(host: string): Entry {
    let entry = this.#entries.get(host);
    if (entry === undefined) {
      entry = { addresses: [], readMs: Number.NEGATIVE_INFINITY, isAsking: false, turn: 0, waiting: [] };
      this.#entries.set(host, entry);
    }
    return entry;
  }

  #refresh(host: string, entry: Entry): void {
    if (entry.isAsking) return;
    entry.isAsking = true;
    this.#ask(host, (error, addresses) => {
      entry.isAsking = false;
      if (error === null && addresses.length > 0) {
        entry.addresses = addresses;
        entry.readMs = this.#nowMs();
      }
      for (const answer of entry.waiting.splice(0)) answer(error);
    });
  }
}
