/**
 * The HTTP side of one simulated engine: listens, reads bodies, finds the endpoint, applies the faults that come before a
 * response head. Connection behaviour is uvicorn's: keep-alive of 5 s, no limit on body size or request time.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { tryAnswerBytes } from './byte-answer.ts';
import type { SimContext } from './context.ts';
import { sendException, SimExchange } from './exchange.ts';
import { Faults, parseFaultSet } from './faults.ts';
import type { FaultSet } from './faults.ts';
import { parseObject } from './json.ts';
import { startKvEvents } from './kv-events.ts';
import type { KvEventPublisher } from './kv-events.ts';
import type { JsonObject } from './json.ts';
import { resolveSettings } from './options.ts';
import type { SimOptions } from './options.ts';
import { hashText, Random } from './random.ts';
import { routes } from './routes.ts';
import { Engine } from './scheduler.ts';
import { statsOf } from './stats.ts';
import type { SimStats } from './stats.ts';
import { Transfers } from './transfer.ts';

/** One running simulated engine. */
export interface Sim {
  /** `http://host:port`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  readonly name: string;
  /** What publishes its KV events; null when nothing does. */
  readonly kvEvents: KvEventPublisher | null;
  stats(): SimStats;
  /** Replaces all faults; `{}` ends them. Throws RangeError for an unknown kind or parameter. */
  setFaults(faults: FaultSet): void;
  /** Stops accepting, aborts every generation, cuts every connection, and waits for the port to be free. */
  close(): Promise<void>;
}

/** Starts an engine and resolves once it listens. Rejects with the listen error, or RangeError for a bad option. */
export async function startSim(options: SimOptions = {}): Promise<Sim> {
  const settings = resolveSettings(options);
  const faults = new Faults(settings.seed);
  const engine = new Engine(settings);
  engine.slowFactor = () => (faults.draw('slow_factor') ? faults.parameter('slow_factor', 'factor') : 1);
  const ids = new Random(hashText(settings.name, settings.seed));
  const transfers = new Transfers({ settings, engine, ids });
  const kvEvents = await startKvEvents(settings);
  if (kvEvents !== null) {
    engine.cache.listener = kvEvents;
    engine.onScheduled = () => kvEvents.flush();
  }
  const context: SimContext = {
    settings,
    engine,
    faults,
    ids,
    transfers,
    adapters: new Map(settings.loraAdapters.map((adapter) => [adapter, `/adapters/${adapter}`])),
    requestsByPath: new Map(),
    adapterRows: new Map(),
    startedAt: settings.unixMs() / 1000,
    counters: { active: 0, load: 0, connections: 0, connectionsTotal: 0, requestBytes: 0 },
  };
  const server = createServer(
    {
      keepAliveTimeout: settings.keepAliveMs,
      requestTimeout: 0,
      headersTimeout: 60_000,
      // h11's bound: a proxy may pass on 16 KiB and add fields of its own.
      maxHeaderSize: 65_536,
      noDelay: true,
    },
    (request, response) => onRequest(context, request, response),
  );
  server.on('connection', (socket) => {
    context.counters.connections++;
    context.counters.connectionsTotal++;
    socket.on('close', () => context.counters.connections--);
  });
  const port = await listen(server, settings.host, settings.port).catch(async (error: unknown) => {
    await kvEvents?.close();
    throw error;
  });
  transfers.port = port;
  const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host;
  return {
    url: `http://${host}:${port}`,
    port,
    name: settings.name,
    kvEvents,
    stats: () => statsOf(context),
    setFaults: (set) => faults.replace(parseFaultSet(set)),
    close: async () => {
      transfers.close();
      await close(server, engine);
      await kvEvents?.close();
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: 4096 }, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

function close(server: Server, engine: Engine): Promise<void> {
  engine.close();
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function onRequest(context: SimContext, request: IncomingMessage, response: ServerResponse): void {
  const target = request.url ?? '/';
  const queryAt = target.indexOf('?');
  const path = queryAt === -1 ? target : target.slice(0, queryAt);
  const route = routes.get(path);
  const { counters, requestsByPath } = context;
  const countedPath = route === undefined ? 'other' : path;
  requestsByPath.set(countedPath, (requestsByPath.get(countedPath) ?? 0) + 1);
  counters.active++;
  if (route?.isInference === true) counters.load++;
  response.on('close', () => {
    counters.active--;
    if (route?.isInference === true) counters.load--;
  });
  const exchange = new SimExchange(request, response, context, path);
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => {
    counters.requestBytes += chunk.length;
    chunks.push(chunk);
  });
  request.on('end', () => {
    exchange.body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    try {
      answer(exchange);
    } catch (error) {
      sendException(exchange, error);
    }
  });
}

function answer(exchange: SimExchange): void {
  const { context, path, request } = exchange;
  if (tryAnswerBytes(exchange)) return;
  const route = routes.get(path);
  if (route === undefined) {
    exchange.sendJson({ detail: 'Not Found' }, 404);
    return;
  }
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  if (!route.methods.includes(method ?? '')) {
    exchange.sendJson({ detail: 'Method Not Allowed' }, 405, { allow: route.methods.join(', ') });
    return;
  }
  let body: JsonObject = {};
  if (route.readsJson && method === 'POST') body = parseObject(exchange.body.toString('utf8'));
  if (route.isInference) {
    const model = typeof body['model'] === 'string' ? body['model'] : '';
    exchange.fault = context.faults.drawRequest(path, model);
    if (hasFailedBeforeHead(exchange)) return;
  }
  route.handle(exchange, body);
}

function hasFailedBeforeHead(exchange: SimExchange): boolean {
  const { fault } = exchange;
  if (fault.resetBeforeHead) {
    exchange.cut(false);
    return true;
  }
  if (fault.hang) return true;
  if (fault.errorStatus < 0) return false;
  const isRetryable = fault.errorStatus === 429 || fault.errorStatus === 503;
  exchange.sendError(fault.errorStatus, 'The engine failed.', null, isRetryable ? { 'retry-after': '1' } : {});
  return true;
}
