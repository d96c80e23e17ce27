// Makes a fresh clone runnable with Node and npm only: installs when node_modules is missing or older than the lock
// file, compiles when dist/ is older than the newest source (WebAssembly first, which the TypeScript embeds). `npm start`, `npm test` and `npm run loadtest` call it first.
// Plain JavaScript without dependencies, because it runs before either exists.
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const flags = new Set(process.argv.slice(2));

function modifiedMs(path) {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function newestSourceMs(folder) {
  let newest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) newest = Math.max(newest, newestSourceMs(path));
    else if (/\.(ts|json)$/.test(entry.name)) newest = Math.max(newest, statSync(path).mtimeMs);
  }
  return newest;
}

function runOrExit(command, args) {
  console.error(`> ${command} ${args.join(' ')}`);
  const { status } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
}

const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const wasmCompiler = join(root, 'node_modules', 'assemblyscript', 'bin', 'asc.js');

/** Compiles a folder of AssemblyScript and puts the module into a source file there, so that loading it needs no path. */
function compileWasm(folder) {
  const target = `${folder}/module.wasm.ts`;
  const sources = readdirSync(join(root, folder)).filter((name) => /(?<!\.wasm|\.d)\.ts$/.test(name));
  if (sources.every((name) => modifiedMs(`${folder}/${name}`) <= modifiedMs(target))) return;
  const source = join(root, folder, 'module.ts');
  const binary = join(root, folder, 'module.wasm');
  const flags = '-O3 --converge --noAssert --runtime stub --enable simd --importMemory --initialMemory 1';
  runOrExit(process.execPath, [wasmCompiler, source, '--outFile', binary, ...flags.split(' ')]);
  const base64 = readFileSync(binary).toString('base64');
  rmSync(binary);
  const text = `// Made from module.ts by src/bootstrap.mjs.\nexport const wasmBase64 =\n  '${base64}';\n`;
  writeFileSync(join(root, target), text);
}

if (modifiedMs('node_modules/.package-lock.json') < modifiedMs('package-lock.json')) {
  // No package needs a script of its own to be installed (test/supply-chain.test.ts), so none is run.
  runOrExit('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
}
compileWasm('src/http/wasm');
if (!flags.has('--install-only')) {
  if (modifiedMs('dist/.built') < newestSourceMs(join(root, 'src'))) {
    runOrExit(process.execPath, [compiler, '-p', 'src']);
    runOrExit(process.execPath, ['-e', "require('fs').writeFileSync('dist/.built', '')"]);
  }
  if (flags.has('--watch')) {
    spawn(process.execPath, [compiler, '-p', 'src', '--watch', '--preserveWatchOutput'], {
      cwd: root,
      stdio: 'inherit',
    });
    spawn(process.execPath, ['--watch', 'dist/cli.js', 'demo'], { cwd: root, stdio: 'inherit' });
  }
}
