/** Whose code a frame is: one of the gateway's folders, a package, Node, V8, the kernel. The colour says the same. */

/** The gateway's folders in the order in which an exchange passes them, then the rest. */
const hues = /** @type {const} */ ({
  listener: 10,
  head: 25,
  http: 40,
  filters: 52,
  route: 64,
  pick: 76,
  upstream: 95,
  relay: 130,
  account: 160,
  exchange: 175,
  shard: 190,
  shm: 205,
  worker: 225,
  control: 250,
  core: 270,
  config: 285,
});
const plain = /** @type {Record<string, string>} */ ({
  gc: '#e06666',
  kernel: '#9fb6cf',
  'node internals': '#b9c7a9',
  v8: '#d5cfe0',
  native: '#c9c9c9',
  packages: '#d9c7a0',
  wasm: '#f0b27a',
});

/** @param {string} area */
export function colourOf(area) {
  if (Object.hasOwn(hues, area)) return `hsl(${hues[/** @type {keyof typeof hues} */ (area)]},75%,68%)`;
  return plain[area] ?? plain['native'];
}

/**
 * A JavaScript function as it is shown. `url` as V8 has it; what is before the last `dist` or `node_modules` in it is the
 * machine's business.
 * @param {string} functionName
 * @param {string} url empty for code without a script: a native function, or a state in brackets such as `(program)`
 * @param {number} line 1-based; 0 when unknown
 */
export function scriptFrame(functionName, url, line) {
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return { name, area: name === '(garbage collector)' ? 'gc' : 'native' };
  const [, own] = /\/dist\/((?:[^/]+\/)*[^/]+)$/.exec(url) ?? [];
  const [, packaged] = /.*\/node_modules\/(.+)$/.exec(url) ?? [];
  const path = packaged ?? own ?? url.replace(/^file:\/\//, '');
  return { name: `${name} ${path}${line > 0 ? `:${line}` : ''}`, area: scriptArea(url, own, packaged) };
}

/**
 * @param {string} url
 * @param {string | undefined} own
 * @param {string | undefined} packaged
 */
function scriptArea(url, own, packaged) {
  if (packaged !== undefined) return 'packages';
  if (own === undefined) {
    // The scanner's module, and those that Node and undici bring: their caller says which.
    if (url.startsWith('wasm:')) return 'wasm';
    return url.startsWith('node:') ? 'node internals' : 'native';
  }
  // main.js lies beside the folders and does nothing but start control.
  return own.includes('/') ? own.slice(0, own.indexOf('/')) : 'control';
}
