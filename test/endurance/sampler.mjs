/** Looks at the gateway at a steady pace for as long as a scenario runs. */

const everyMs = 500;
/** A plot has no room for more, and a result file should not either. */
const keptMax = 240;

export class Sampler {
  #gateway;
  #timer;
  #startedMs = performance.now();
  /** @type {import('./types.d.ts').Sample[]} */
  #samples = [];
  #isAsking = false;
  /** @type {import('./gateway.mjs').LagTable | null} */
  #lag = null;

  /** @param {import('./gateway.mjs').Gateway} gateway */
  constructor(gateway) {
    this.#gateway = gateway;
    this.#timer = setInterval(() => void this.take(), everyMs);
  }

  get all() {
    return this.#samples;
  }

  /** Adds a sample now. */
  async take() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const [page, lag] = [await this.#gateway.metrics(), await this.#gateway.lag()];
      const before = this.#lag ?? lag;
      this.#lag = lag;
      this.#samples.push({
        s: (performance.now() - this.#startedMs) / 1000,
        exchanges: page.sum('penstock_requests_total'),
        rssMb: this.#gateway.rssBytes() / 1e6,
        heapMb: page.sum('penstock_heap_used_bytes') / 1e6,
        fds: this.#gateway.fdCount(),
        leases: page.sum('penstock_leases_open') - page.sum('penstock_leases_open', 'kind="body_slab"'),
        slabs: page.sum('penstock_slabs_in_use'),
        connections: page.sum('penstock_shard_connections'),
        lagMs: before === lag ? 0 : lag.since(before).maxMs,
      });
    } finally {
      this.#isAsking = false;
    }
  }

  /** The last sample, and the end. */
  async stop() {
    clearInterval(this.#timer);
    await this.take();
  }

  /** No more than fit a plot: of each group the one with the most memory, so that none is hidden. */
  kept() {
    const step = Math.max(1, Math.ceil(this.#samples.length / keptMax));
    /** @type {import('./types.d.ts').Sample[]} */
    const kept = [];
    for (let at = 0; at < this.#samples.length; at += step) {
      const group = this.#samples.slice(at, at + step);
      const most = group.reduce((a, b) => (b.rssMb > a.rssMb ? b : a));
      kept.push({ ...rounded(most), lagMs: Math.max(...group.map(({ lagMs }) => lagMs)) });
    }
    return kept;
  }
}

/** @param {import('./types.d.ts').Sample} sample */
function rounded(sample) {
  return {
    ...sample,
    s: Number(sample.s.toFixed(1)),
    rssMb: Number(sample.rssMb.toFixed(1)),
    heapMb: Number(sample.heapMb.toFixed(1)),
  };
}
