import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js';
import type { ListenerTls } from '../config/index.ts';
import { withPrivateFiles } from './private-files.ts';
import type { LoadedUws } from './uws.ts';

/**
 * One app of the library, which is one set of certificates and the connections that were made with it. A new set is a
 * new app: the library can add names to an app but not replace a certificate, and taking a name away would free the
 * router under the connections that use it.
 */
export interface Generation {
  readonly app: NativeApp;
  readonly tls: ListenerTls | null;
  connectionCount: number;
  /** No connection comes to it any more; those it has are told to close with their next answer. */
  isRetired: boolean;
  /** Sweeps since then. */
  retiredSweeps: number;
}

/** What the library has beyond its types. */
interface NativeApp extends TemplatedApp {
  /** Names this app to another that accepts for it. */
  getDescriptor(): unknown;
  /** Connections accepted from here on are handed to the children in turn; with none, the app keeps them. */
  addChildAppDescriptor(descriptor: unknown): this;
  removeChildAppDescriptor(descriptor: unknown): this;
}

/** Forward secrecy and an AEAD only, as Mozilla's intermediate profile. TLS 1.3 has its own suites; below 1.2 the library has none. */
const ciphers = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

export interface GenerationEvents {
  /** A connection was accepted (1) or has closed (-1). */
  readonly onConnection: (connection: HttpResponse, delta: number) => void;
  /** Sees each request first and yields it to `onRequest`; null where nobody needs that. */
  readonly onRequestRead: ((response: HttpResponse, request: HttpRequest) => void) | null;
  readonly onRequest: (generation: Generation, response: HttpResponse, request: HttpRequest) => void;
}

/** Methods that can have a route of their own, which comes before that of any method. */
const routedMethods = ['get', 'post', 'put', 'patch', 'del', 'head', 'options', 'connect', 'trace'] as const;

/** Throws when the library does not take the certificates. */
export function makeGeneration({ uws }: LoadedUws, tls: ListenerTls | null, events: GenerationEvents): Generation {
  const app = tls === null ? uws.App() : secureApp(uws, tls);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see NativeApp.
  const generation: Generation = {
    app: app as NativeApp,
    tls,
    connectionCount: 0,
    isRetired: false,
    retiredSweeps: 0,
  };
  const { onConnection, onRequestRead, onRequest } = events;
  app.filter((connection, delta) => {
    generation.connectionCount += delta;
    onConnection(connection, delta);
  });
  const handle = (response: HttpResponse, request: HttpRequest): void => onRequest(generation, response, request);
  const route = (router: TemplatedApp): void => {
    if (onRequestRead !== null) for (const method of routedMethods) router[method]('/*', onRequestRead);
    router.any('/*', handle);
  };
  route(app);
  // Each server name has a router of its own.
  for (const name of answeredNames(tls)) route(app.domain(name));
  return generation;
}

function secureApp(uws: LoadedUws['uws'], tls: ListenerTls): TemplatedApp {
  return withPrivateFiles((fileOf) => {
    const ca = tls.clientCaPem === null ? {} : { ca_file_name: fileOf(tls.clientCaPem) };
    const options = tls.certificates.map(({ certPem, keyPem, passphrase }) => ({
      cert_file_name: fileOf(certPem),
      key_file_name: fileOf(keyPem),
      ...(passphrase === null ? {} : { passphrase }),
      // On every name: verification is the first app's, the authorities those of the name.
      ...ca,
      ssl_ciphers: ciphers,
    }));
    const [first, ...others] = options;
    try {
      // A bad certificate is an error here, but says nothing in addServerName, where the name would be left out.
      for (const each of others) uws.SSLApp(each).close();
      const app = uws.SSLApp(first!);
      const answered = answeredNames(tls);
      for (const [index, { serverNames }] of tls.certificates.entries()) {
        for (const name of serverNames) if (answered.has(name)) app.addServerName(name, options[index]!);
      }
      return app;
    } catch (error) {
      throw new Error('the TLS library does not take a certificate, its key or its authorities', { cause: error });
    }
  });
}

/** A single certificate answers to every name. */
function answeredNames(tls: ListenerTls | null): ReadonlySet<string> {
  if (tls === null || tls.certificates.length === 1) return new Set();
  return new Set(tls.certificates.flatMap(({ serverNames }) => serverNames));
}
