import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as Uws from 'uWebSockets.js';
import { digestProblem } from './uws-digest.ts';

/**
 * The one place that loads uWebSockets.js. Three builds are tried, best first:
 *
 * 1. one the operator installed from upstream and named (`PENSTOCK_UWS`): newest parser, needs a recent glibc;
 * 2. `@btc-vision/uwebsockets.js`, where it is installed and loads (glibc 2.38);
 * 3. the bundled republished build, which runs on glibc 2.27 and Node 20, and is loaded only if its file is the one that was
 *    bundled. The other two are the operator's to vouch for.
 */
export interface LoadedUws {
  readonly uws: typeof Uws;
  /** For the log: which build this is. */
  readonly build: string;
}

const require = createRequire(import.meta.url);
const bundled = 'uWebSockets.js';

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
  candidates.push({ build: `bundled ${bundledVersion()}`, specifier: bundled });
  for (const { build, specifier } of candidates) {
    try {
      const problem = specifier === bundled ? bundledProblem() : null;
      if (problem !== null) throw new Error(problem);
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

/** Looks where the package will look. Without a file for this platform the import itself says so, better than we could. */
function bundledProblem(): string | null {
  const name = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  const file = fileURLToPath(new URL(`bin/${name}`, import.meta.resolve(bundled)));
  return existsSync(file) ? digestProblem(file) : null;
}

function bundledVersion(): string {
  return 'uws-pack 20.0.8';
}
