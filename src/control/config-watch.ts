import { stat } from 'node:fs/promises';
import type { Logger } from 'pino';

/**
 * `runtime.watch_config`: asks for a reload when the configuration file, or a file it names, has changed.
 *
 *   unchanged ──differs──▶ settling ──same for one period──▶ reload ──▶ unchanged
 *                            ▲   │
 *                            └───┘ differs again: a file half-written, a directory of links half-swapped
 *
 * It looks, and is not told: a look at every path, following links, sees every way a file comes to be replaced (rename,
 * truncation, the swapped `..data` link of a Kubernetes volume, a bind mount, a network file system), where
 * notifications see some of them. It costs one `stat` a file and period, and no limit of the system.
 *
 * A state of the files is tried once. One that is refused is reported by that reload and not again until it changes.
 */
export interface ConfigWatchOptions {
  /** The configuration file and what it names now, in force or refused. */
  readonly paths: () => readonly string[];
  readonly reload: () => Promise<unknown>;
  readonly log: Logger;
  readonly periodMs?: number;
}

const periodDefaultMs = 500;

/** What each path leads to: which file, and when that was last changed. A path that leads nowhere is a state too. */
type Look = ReadonlyMap<string, string>;

export class ConfigWatch {
  readonly #options: ConfigWatchOptions;
  /** As last loaded, by path. */
  readonly #known = new Map<string, string>();
  #seen: Look = new Map();
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(options: ConfigWatchOptions) {
    this.#options = options;
  }

  /** What the files are now counts as loaded. */
  async start(): Promise<void> {
    this.#seen = await this.#look();
    this.#learn(this.#seen);
    this.#lookLater();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #lookLater(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#step(), this.#options.periodMs ?? periodDefaultMs).unref();
  }

  async #step(): Promise<void> {
    const before = this.#seen;
    const now = (this.#seen = await this.#look());
    const isSettled = [...now].every(([path, state]) => before.get(path) === state);
    const changed = [...now].filter(([path, state]) => this.#known.get(path) !== state).map(([path]) => path);
    if (changed.length > 0 && isSettled && !this.#isStopped) {
      this.#options.log.info({ files: changed }, 'config files have changed, reloading');
      this.#learn(now); // Before they are read: what changes meanwhile is found by the next look.
      await this.#options.reload();
      await this.#meetNewPaths();
    }
    this.#lookLater();
  }

  /** Files named for the first time were read a moment ago. */
  async #meetNewPaths(): Promise<void> {
    const look = await this.#look();
    this.#seen = look;
    for (const [path, state] of look) if (!this.#known.has(path)) this.#known.set(path, state);
  }

  #learn(look: Look): void {
    for (const [path, state] of look) this.#known.set(path, state);
  }

  async #look(): Promise<Look> {
    const looks = this.#options.paths().map((path) =>
      stat(path, { bigint: true }).then(
        ({ dev, ino, size, mtimeNs, ctimeNs }): [string, string] => [
          path,
          `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`,
        ],
        (): [string, string] => [path, 'none'],
      ),
    );
    return new Map(await Promise.all(looks));
  }
}
