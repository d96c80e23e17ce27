import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { isLoopback } from '../config/index.ts';

/**
 * The admin port: a table of paths and the rules every path shares. It is meant for operators on a trusted network, and
 * safe by default against the web pages their browsers visit: a change needs a header or content type that a page
 * cannot send across origins, is refused where the browser says that a page of another origin asks for it, and a loopback
 * address answers to no host name but localhost (DNS rebinding). Every change asked for is logged, granted or not.
 */
export interface AdminAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** What a browser may do with it; nothing, unless given. */
  readonly contentSecurityPolicy?: string;
}

export interface AdminRoute {
  readonly method: 'GET' | 'POST';
  /** Answered without the token: probes of an orchestrator. */
  readonly isOpen?: boolean;
  readonly handle: (query: URLSearchParams) => AdminAnswer | Promise<AdminAnswer>;
}

export interface AdminServerOptions {
  readonly routes: Readonly<Record<string, AdminRoute>>;
  readonly token: string | null;
  readonly log: Logger;
}

const timeoutMs = 10_000;
/** Without a byte either way: above the longest answer, a reload that waits for the first checks of new endpoints. */
const silenceMs = 120_000;
const bodyBytesMax = 64 * 1024;
/** More than dashboards, scrapers and probes of one gateway take; beyond it connections are closed as they come. */
const connectionsMax = 256;

/** Nothing of an answer is for a page of another origin, nor for a cache or a frame. */
const fixedHeaders = {
  'cache-control': 'no-store',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;
const nothingAllowed = "default-src 'none'; frame-ancestors 'none'";

export function json(status: number, value: unknown): AdminAnswer {
  return { status, contentType: 'application/json', body: JSON.stringify(value, null, 2) + '\n' };
}

function problem(status: number, message: string): AdminAnswer {
  return json(status, { error: message });
}

export class AdminServer {
  readonly #options: AdminServerOptions;
  readonly #tokenDigest: Buffer | null;
  readonly #server: Server;
  #isLoopback = true;

  constructor(options: AdminServerOptions) {
    this.#options = options;
    this.#tokenDigest = options.token === null ? null : digest(options.token);
    this.#server = createServer(
      {
        headersTimeout: timeoutMs,
        requestTimeout: timeoutMs,
        keepAliveTimeout: 5000,
        connectionsCheckingInterval: 2000,
      },
      (request, response) => void this.#onRequest(request, response),
    );
    this.#server.maxConnections = connectionsMax;
    this.#server.timeout = silenceMs;
  }

  /** Resolves with the bound port. Rejects with the error of `listen`, e.g. code EADDRINUSE; it may then be called again. */
  listen(host: string, port: number): Promise<number> {
    this.#isLoopback = isLoopback(host);
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server that listens has an AddressInfo.
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** Stops listening and ends every connection. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  /** Stops listening; answers under way are finished. */
  async stopListening(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    await closed;
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: AdminAnswer;
    let allow: string | null = null;
    try {
      const url = URL.canParse(request.url ?? '', 'http://admin') ? new URL(request.url ?? '', 'http://admin') : null;
      const route =
        url !== null && Object.hasOwn(this.#options.routes, url.pathname)
          ? this.#options.routes[url.pathname]
          : undefined;
      const isBodyTaken = await skipBody(request);
      if (route !== undefined) allow = route.method === 'GET' ? 'GET, HEAD' : route.method;
      answer = !isBodyTaken
        ? problem(413, `a body may have ${bodyBytesMax} bytes`)
        : (this.#refusal(request, route) ?? (await route!.handle(url!.searchParams)));
    } catch (error) {
      if (response.destroyed) return;
      this.#options.log.error({ err: error, path: request.url }, 'admin request failed');
      answer = problem(500, 'internal error');
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') this.#logChange(request, answer.status);
    const body = Buffer.from(answer.body);
    response.writeHead(answer.status, {
      'content-type': answer.contentType,
      'content-length': body.length,
      ...fixedHeaders,
      'content-security-policy': answer.contentSecurityPolicy ?? nothingAllowed,
      ...(answer.status === 405 && allow !== null ? { allow } : {}),
      ...(answer.status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      ...(answer.status === 413 ? { connection: 'close' } : {}),
    });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  /** Null when the request may be answered. */
  #refusal(request: IncomingMessage, route: AdminRoute | undefined): AdminAnswer | null {
    if (this.#isLoopback && !isLocalName(request.headers.host ?? '')) {
      return problem(403, 'this address answers to IP addresses and localhost only');
    }
    if (route?.isOpen !== true && !this.#isAuthorized(request.headers.authorization)) {
      return problem(401, 'needs authorization: Bearer with the admin token');
    }
    if (route === undefined) return problem(404, 'no such path');
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    if (method !== route.method) return problem(405, `use ${route.method}`);
    if (route.method === 'POST' && !isMeant(request)) {
      return problem(403, 'a POST needs content-type: application/json, or an x-penstock-admin header');
    }
    if (route.method === 'POST' && isOfAnotherOrigin(request)) return problem(403, 'a page of another origin asks');
    return null;
  }

  /** Who asked for what, and what came of it. The path is of the table or cut short; nothing else of the request is told. */
  #logChange(request: IncomingMessage, status: number): void {
    const path = (request.url ?? '').split('?', 1)[0]!.slice(0, 64);
    const fields = { method: request.method, path, from: request.socket.remoteAddress, status };
    if (status < 400) this.#options.log.info(fields, 'admin change');
    else this.#options.log.warn(fields, 'admin change refused');
  }

  /** Digests are compared, so that neither the time nor the length says how much of the token was right. */
  #isAuthorized(authorization: string | undefined): boolean {
    if (this.#tokenDigest === null) return true;
    const token = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    return token !== undefined && timingSafeEqual(digest(token), this.#tokenDigest);
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** A form or a script of another origin can send neither without a preflight, which is answered 405. */
function isMeant({ headers }: IncomingMessage): boolean {
  const contentType = headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  return contentType === 'application/json' || headers['x-penstock-admin'] !== undefined;
}

/** No path looks at its body. False when it is too long. */
async function skipBody(request: IncomingMessage): Promise<boolean> {
  let bytes = 0;
  // Leaving the loop must not destroy the socket: the 413 is still to be sent on it.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) return false;
  }
  return true;
}

/** What browsers say of themselves (Fetch Metadata; RFC 6454 section 7). Other clients send neither field. */
function isOfAnotherOrigin({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  return headers.origin !== undefined && headers.origin !== `http://${headers.host ?? ''}`;
}

function isLocalName(authority: string): boolean {
  const host = authority.replace(/:\d+$/, '').toLowerCase();
  return host === 'localhost' || host.endsWith('.localhost') || isIP(host.replace(/^\[|\]$/g, '')) !== 0;
}
