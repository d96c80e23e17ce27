/**
 * One router, or several that each get a random part of the requests. `shared`: all use one view, as threads of one process
 * do. `private`: each has its own. `synced`: each has its own, and learns after a while what the others did.
 */
import { View } from './view.mjs';

/**
 * @typedef {object} RouterOptions
 * @property {number} count
 * @property {'shared' | 'private' | 'synced'} sharing
 * @property {number} lagMs
 */

/** @type {RouterOptions} */
export const oneRouter = { count: 1, sharing: 'shared', lagMs: 0 };

/** @typedef {{ atMs: number, kind: 'dispatch' | 'firstByte' | 'end' | 'lost', flight: import('./view.mjs').Flight }} Entry */

export class Routers {
  /** @type {View[]} */
  #views = [];
  /** Entries each synced view has seen. @type {number[]} */
  #seen = [];
  /** What happened, as far as somebody has yet to learn of it. @type {Entry[]} */
  #log = [];
  #options;

  /** @param {RouterOptions} options @param {import('./profiles.mjs').Profile} profile @param {number} endpointCount */
  constructor(options, profile, endpointCount) {
    this.#options = options;
    const viewCount = options.sharing === 'shared' ? 1 : options.count;
    for (let index = 0; index < viewCount; index++) {
      this.#views.push(new View(profile, endpointCount));
      this.#seen.push(0);
    }
  }

  get count() {
    return this.#options.count;
  }

  /** The view of a router as it is now. @param {number} router @param {number} nowMs */
  viewOf(router, nowMs) {
    if (this.#options.sharing === 'shared') return this.#views[0];
    if (this.#options.sharing === 'synced') this.#catchUp(router, nowMs - this.#options.lagMs);
    return this.#views[router];
  }

  /** @param {number} nowMs @param {import('./view.mjs').Flight} flight */
  onDispatch(nowMs, flight) {
    this.#apply('dispatch', nowMs, flight);
  }

  /** @param {number} nowMs @param {import('./view.mjs').Flight} flight */
  onFirstByte(nowMs, flight) {
    this.#apply('firstByte', nowMs, flight);
  }

  /** @param {number} nowMs @param {import('./view.mjs').Flight} flight @param {boolean} isWhole */
  onEnd(nowMs, flight, isWhole) {
    this.#apply(isWhole ? 'end' : 'lost', nowMs, flight);
  }

  /** Everybody sees that connections to it are refused. @param {number} endpoint */
  onRestart(endpoint) {
    for (const view of this.#views) view.onRestart(endpoint);
  }

  /** @param {Entry['kind']} kind @param {number} atMs @param {import('./view.mjs').Flight} flight */
  #apply(kind, atMs, flight) {
    const own = this.#options.sharing === 'shared' ? 0 : flight.router;
    tell(this.#views[own], kind, flight, flight.hasFirstByte);
    if (this.#options.sharing === 'synced') this.#log.push({ atMs, kind, flight });
  }

  /** @param {number} router @param {number} untilMs */
  #catchUp(router, untilMs) {
    let seen = this.#seen[router];
    for (; seen < this.#log.length && this.#log[seen].atMs <= untilMs; seen++) {
      const { kind, flight } = this.#log[seen];
      // Entries are in order, so a first byte has been told before the end.
      if (flight.router !== router) tell(this.#views[router], kind, flight, flight.ttftMs >= 0);
    }
    this.#seen[router] = seen;
  }
}

/** @param {View} view @param {Entry['kind']} kind @param {import('./view.mjs').Flight} flight @param {boolean} hasFirstByte */
function tell(view, kind, flight, hasFirstByte) {
  if (kind === 'dispatch') view.onDispatch(flight);
  else if (kind === 'firstByte') view.onFirstByte(flight);
  else view.onEnd({ ...flight, hasFirstByte }, kind === 'end');
}
