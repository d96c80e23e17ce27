import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as Uws from 'uWebSockets.js';

/**
 * The one place that loads uWebSockets.js. Three builds are tried, best first:
 *
 * 1. one the operator installed from upstream and named (`PENSTOCK_UWS`): newest parser, needs a recent glibc;
 * 2. `@btc-vision/uwebsockets.js`, where it is installed and loads (glibc 2.38);
 * 3. the bundled republished build, which runs on glibc 2.27 and Node 20.
 */
export interface LoadedUws {
  readonly uws: typeof Uws;
  /** For the log: which build this is. */
  readonly build: string;
}

const require = createRequire(import.meta.url);

function isUsable(candidate: unknown): candidate is typeof Uws {
  const uws = candidate as Partial<typeof Uws> | null;
  // Some republished builds hide a silent JavaScript fallback; it has no SSLApp.
  return (
    typeof uws?.App === 'function' &&
    typeof uws.SSLApp === 'function' &&
    typeof uws.us_listen_socket_close === 'function'
  );
}

async function importFrom(specifier: string): Promise<typeof Uws | null> {
  const module = (await import(specifier)) as { default?: unknown };
  if (isUsable(module)) return module;
  return isUsable(module.default) ? module.default : null;
}

/**
 * `operatorPath`: a file or package folder, or null. Throws when no build loads, with what each one said.
 *
 * The library reads its own limit of the head from UWS_HTTP_MAX_HEADERS_SIZE in the environment of the process, which a
 * worker thread cannot change; control sets it before the first shard starts.
 */
export async function loadUws(operatorPath: string | null): Promise<LoadedUws> {
  const said: string[] = [];
  const candidates: { build: string; specifier: string }[] = [];
  if (operatorPath !== null) {
    candidates.push({ build: `operator (${operatorPath})`, specifier: resolveOperatorPath(operatorPath) });
  }
  candidates.push({ build: '@btc-vision/uwebsockets.js', specifier: '@btc-vision/uwebsockets.js' });
  candidates.push({ build: `bundled ${bundledVersion()}`, specifier: 'uWebSockets.js' });
  for (const { build, specifier } of candidates) {
    try {
      const uws = await importFrom(specifier);
      if (uws !== null) return { uws, build };
      said.push(`${build}: not the native build`);
    } catch (error) {
      said.push(`${build}: ${(error as Error).message}`);
    }
  }
  throw new Error(`no build of uWebSockets.js loads here: ${said.join('; ')}`);
}

function resolveOperatorPath(path: string): string {
  const absolute = path.startsWith('/') ? path : join(process.cwd(), path);
  try {
    return pathToFileURL(require.resolve(absolute)).href;
  } catch {
    return pathToFileURL(absolute).href;
  }
}

function bundledVersion(): string {
  return 'uws-pack 20.0.8';
}
