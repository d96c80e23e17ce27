/** The part of autocannon 9's API that the load test uses; the package brings no types. */
declare module 'autocannon' {
  import type { EventEmitter } from 'node:events';

  export interface Request {
    method: string;
    path: string;
    headers: Record<string, string>;
    body: Buffer;
    /** `headers` has the names as they came; a repeated one has an array. `body` was decoded piece by piece. */
    onResponse(status: number, body: string, context: object, headers: Record<string, string | string[]>): void;
  }

  /** One connection. Emits `response` (status, bytes, ms), `connError`, `timeout`. */
  export interface Client extends EventEmitter {
    setRequests(requests: Request[]): void;
    /** Private to autocannon: opens the connection, the first time and after each loss. */
    _connect(): void;
    /** Private to autocannon: requests without an answer yet, oldest first. */
    pipelinedRequests: { clear(): void; size(): number };
  }

  export interface Options {
    url: string;
    connections: number;
    /** Seconds. */
    duration: number;
    /** Seconds. */
    timeout: number;
    /** Milliseconds between two looks at the clock. */
    sampleInt: number;
    /** Requests a second over all connections; 0 sends as fast as answers come. */
    overallRate?: number;
    /** Only together with a rate. */
    ignoreCoordinatedOmission?: boolean;
    setupClient(client: Client): void;
  }

  export interface Result {
    /** Seconds. */
    duration: number;
    errors: number;
    timeouts: number;
    non2xx: number;
  }

  export default function autocannon(options: Options): EventEmitter & PromiseLike<Result>;
}
