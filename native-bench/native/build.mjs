/** Compiles the two programs, engine (the backend) and load (the client), when their sources are newer than they are. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const sourceFolder = fileURLToPath(new URL('.', import.meta.url));
const buildFolder = fileURLToPath(new URL('../.build/', import.meta.url));
const compilerFlags = ['-std=c11', '-O2', '-Wall', '-Wextra', '-Werror'];

/**
 * Paths of both programs. Throws, with the names of the Debian packages when there is no C compiler.
 * @param {string} [folder] where they go
 * @returns {{ engine: string, load: string }}
 */
export function buildNative(folder = buildFolder) {
  mkdirSync(folder, { recursive: true });
  const changedMs = Math.max(
    ...readdirSync(sourceFolder)
      .filter((name) => /\.[ch]$/.test(name))
      .map((name) => statSync(join(sourceFolder, name)).mtimeMs),
  );
  return { engine: compile('engine', folder, changedMs), load: compile('load', folder, changedMs) };
}

/**
 * @param {string} name
 * @param {string} folder
 * @param {number} changedMs when the newest source changed
 */
function compile(name, folder, changedMs) {
  const program = join(folder, name);
  const builtMs = statSync(program, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (builtMs >= changedMs) return program;
  // Into place in one step: another run may be executing the old one or building too.
  const unfinished = `${program}.${process.pid}`;
  try {
    execFileSync('cc', [...compilerFlags, '-o', unfinished, join(sourceFolder, `${name}.c`), '-lm'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
    });
  } catch (error) {
    throw new Error(buildFailure(name, error), { cause: error });
  }
  renameSync(unfinished, program);
  return program;
}

/**
 * @param {string} name
 * @param {unknown} error
 */
function buildFailure(name, error) {
  if (!(error instanceof Error)) return `${name}.c could not be compiled`;
  if ('code' in error && error.code === 'ENOENT')
    return 'there is no C compiler: install the Debian packages gcc and libc6-dev';
  const output = 'stderr' in error ? String(error.stderr) : error.message;
  const isHeaderMissing = /(?:stdio|stdint|sys\/epoll)\.h: No such file/.test(output);
  return `${name}.c could not be compiled${isHeaderMissing ? ': install the Debian package libc6-dev' : ''}\n${output}`;
}
