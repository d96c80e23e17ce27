import { readFileSync } from 'node:fs';
import { Agent, request } from 'undici';
import type { EndpointConfig, PoolConfig } from '../config/index.ts';

/**
 * Control's own requests to endpoints: health checks, metric scrapes, lists of models. A check has a connection of its own,
 * closed after the answer: one that rides on a kept connection says nothing about whether a new one can be made. For
 * scrapes one is kept from each to the next, which takes a sixth off control's CPU time.
 */
export interface ProbeAnswer {
  readonly status: number;
  readonly text: string;
}

/** What probes need to know of an endpoint. */
export interface ProbeTarget {
  readonly slot: number;
  readonly pool: PoolConfig;
  readonly endpoint: EndpointConfig;
}

export type Probe = (target: ProbeTarget, path: string, timeoutMs: number) => Promise<ProbeAnswer>;

/** A vLLM with many models writes some hundred KiB of metrics. */
const bodyBytesMax = 4 * 1024 * 1024;
/** Below the 5 s of uvicorn, above the 2 s between two scrapes of an idle engine. */
const keptIdleMs = 4000;

export class ProbeClient {
  readonly #agents = new Map<string, { readonly agent: Agent; readonly ca: string | null }>();
  readonly #caOf: (path: string) => string;

  /** `caOf`: the authorities of a file named in the configuration, as they are in force. */
  constructor(caOf: (path: string) => string = (path) => readFileSync(path, 'utf8')) {
    this.#caOf = caOf;
  }

  /** GET of the endpoint's URL, base path included, plus `path`. Redirects are not followed. Rejects when there is no whole answer in time. */
  readonly get: Probe = (target, path, timeoutMs) => this.#get(target, path, timeoutMs, false);

  /** The same on a connection that is kept. */
  readonly getKept: Probe = (target, path, timeoutMs) => this.#get(target, path, timeoutMs, true);

  async #get(target: ProbeTarget, path: string, timeoutMs: number, isKept: boolean): Promise<ProbeAnswer> {
    const { pool, endpoint } = target;
    const { statusCode, body } = await request(endpoint.url + path, {
      dispatcher: this.#agentOf(pool, isKept),
      headers: { accept: '*/*', 'user-agent': 'penstock', ...credentialHeader(pool) },
      // One limit for everything: connecting, waiting, reading.
      signal: AbortSignal.timeout(timeoutMs),
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bodyBytesMax) throw new Error(`answer is longer than ${bodyBytesMax} bytes`);
      chunks.push(chunk);
    }
    return { status: statusCode, text: Buffer.concat(chunks).toString('latin1') };
  }

  /** Ends what is still under way. */
  async close(): Promise<void> {
    const agents = [...this.#agents.values()].map(({ agent }) => agent);
    this.#agents.clear();
    await Promise.all(agents.map((agent) => agent.destroy()));
  }

  #agentOf({ name, tls }: PoolConfig, isKept: boolean): Agent {
    // An engine may be in several pools: their questions on kept connections do not wait for each other.
    const key = JSON.stringify([tls.verify, tls.caPath, tls.serverName, isKept ? name : null]);
    const ca = tls.caPath === null ? null : this.#caOf(tls.caPath);
    const known = this.#agents.get(key);
    if (known !== undefined && known.ca === ca) return known.agent;
    void known?.agent.close(); // Its authorities were replaced; checks under way go on.
    const agent = new Agent({
      pipelining: isKept ? 1 : 0, // 0: no keep-alive.
      keepAliveTimeout: keptIdleMs,
      keepAliveMaxTimeout: keptIdleMs,
      connections: isKept ? 1 : null,
      connect: {
        rejectUnauthorized: tls.verify,
        ...(ca === null ? {} : { ca }),
        ...(tls.serverName === null ? {} : { servername: tls.serverName }),
      },
    });
    this.#agents.set(key, { agent, ca });
    return agent;
  }
}

/** Some servers want the key on every path. It goes to the pool's own endpoints only, as it does with requests. */
function credentialHeader({ credential, dialect }: PoolConfig): Record<string, string> {
  if (credential === null) return {};
  if (dialect === 'anthropic') return { 'x-api-key': credential };
  if (dialect === 'gemini') return { 'x-goog-api-key': credential };
  return { authorization: `Bearer ${credential}` };
}

/** The innermost reason of a failed probe, short enough for a log line: `ECONNREFUSED`, `timeout`. */
export function probeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return 'timeout';
  if ('code' in error && typeof error.code === 'string') return error.code;
  return error.message;
}
