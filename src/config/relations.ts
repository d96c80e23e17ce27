/** What must hold between settings. Messages name both sides. */
import { isLoopback, readAddress, readEndpointUrl } from './address.ts';
import { suggestion } from './nearest-name.ts';
import { part, parts, words } from './outline.ts';
import type { Item, Word } from './outline.ts';
import { kvEventsShape, portMax } from './kv-events-schema.ts';
import { ejectionShape, endpointShape } from './pool-schema.ts';
import { formatPath } from './problem.ts';
import type { Complaint, Path } from './problem.ts';
import { adminAddressDefault, adminUnsafe, countMax, limitsShape } from './schema.ts';
import type { Field } from './field.ts';
import { checkRoles } from './role-relations.ts';

type Complain = (path: Path, message: string) => void;

/** `root`: the file as read, right or wrong. */
export function relationComplaints(root: Item): readonly Complaint[] {
  const complaints: Complaint[] = [];
  const complain: Complain = (path, message) => void complaints.push({ path, at: 'value', message });
  checkNames(root, complain);
  checkReferences(root, complain);
  checkDefaultPool(root, complain);
  checkAddresses(root, complain);
  checkAdmin(part(root, 'admin'), complain);
  checkEndpoints(root, complain);
  for (const pool of parts(root, 'pools')) {
    checkRoles(pool, complain);
    checkRanks(part(pool, 'kv_events'), complain);
  }
  checkWeights(root, complain);
  checkSizes(root, complain);
  checkTls(root, complain);
  return complaints;
}

function names(root: Item, key: string): readonly Word[] {
  return parts(root, key).flatMap((item) => words(item, 'name'));
}

function checkUnique(what: string, all: readonly Word[], complain: Complain): void {
  const first = new Map<string, Path>();
  for (const { path, text } of all) {
    const earlier = first.get(text);
    if (earlier === undefined) first.set(text, path);
    else complain(path, `${what} ${text} is already taken by ${formatPath(earlier)}`);
  }
}

function checkNames(root: Item, complain: Complain): void {
  checkUnique('listener name', names(root, 'listeners'), complain);
  checkUnique('pool name', names(root, 'pools'), complain);
  checkUnique('filter chain name', names(root, 'filter_chains'), complain);
  // Names first: of a name and an alias that collide, the alias is the one to change.
  const aliases = parts(root, 'models').flatMap((model) => words(model, 'aliases'));
  checkUnique('model name', [...names(root, 'models'), ...aliases], complain);
}

function checkKnown(what: string, used: readonly Word[], known: readonly Word[], complain: Complain): void {
  const texts = new Set(known.map(({ text }) => text));
  for (const { path, text } of used) {
    if (!texts.has(text)) complain(path, `there is no ${what} ${text}${suggestion(text, texts)}`);
  }
}

function checkReferences(root: Item, complain: Complain): void {
  const targets = parts(root, 'models').flatMap((model) => parts(model, 'targets'));
  const usedPools = [...targets.flatMap((target) => words(target, 'pool')), ...words(root, 'default_pool')];
  checkKnown('pool', usedPools, names(root, 'pools'), complain);
  const usedChains = parts(root, 'listeners').flatMap((listener) => words(listener, 'filter_chains'));
  checkKnown('filter chain', usedChains, names(root, 'filter_chains'), complain);
  const filters = parts(root, 'filter_chains').flatMap((chain) => parts(chain, 'filters'));
  const conditions = filters.flatMap((filter) => [part(filter, 'when'), part(filter, 'unless')]);
  const usedListeners = conditions.flatMap((condition) => words(condition, 'listener'));
  checkKnown('listener', usedListeners, names(root, 'listeners'), complain);
}

function checkDefaultPool(root: Item, complain: Complain): void {
  const { models, pools, default_pool: defaultPool } = root.raw;
  const hasModels = Array.isArray(models) ? models.length > 0 : models !== undefined;
  if (hasModels || defaultPool !== undefined || !Array.isArray(pools) || pools.length < 2) return;
  complain(['default_pool'], `is required with ${pools.length} pools and no models: nothing could be routed`);
}

function checkAddresses(root: Item, complain: Complain): void {
  const admin = part(root, 'admin');
  const written = [admin, ...parts(root, 'listeners')].flatMap((item) => words(item, 'address'));
  const implied = admin.raw['address'] === undefined ? [{ path: ['admin', 'address'], text: adminAddressDefault }] : [];
  const bound = new Map<string, Path>();
  for (const { path, text } of [...implied, ...written]) {
    const reading = readAddress(text);
    // Port 0 gives each its own.
    if ('complaint' in reading || reading.value.port === 0) continue;
    const key = `${reading.value.host.toLowerCase()} ${reading.value.port}`;
    const earlier = bound.get(key);
    if (earlier === undefined) bound.set(key, path);
    else complain(path, `address ${text} is already taken by ${formatPath(earlier)}`);
  }
}

/** It can drain the gateway and shows its configuration: nobody else on the network may have it by default. */
function checkAdmin(admin: Item, complain: Complain): void {
  const hasToken = typeof admin.raw['token'] === 'string';
  if (hasToken || settingOf(adminUnsafe, admin.raw['unsafe_without_token']) === true) return;
  for (const { path, text } of words(admin, 'address')) {
    const reading = readAddress(text);
    if ('complaint' in reading || isLoopback(reading.value.host)) continue;
    complain(path, 'is not a loopback address, so admin.token is required (or unsafe_without_token: true)');
  }
}

function checkEndpoints(root: Item, complain: Complain): void {
  let count = 0;
  for (const pool of parts(root, 'pools')) {
    const first = new Map<string, Path>();
    for (const endpoint of parts(pool, 'endpoints')) {
      count++;
      checkReplays(endpoint, complain);
      for (const { path, text } of words(endpoint, 'url')) {
        const reading = readEndpointUrl(text);
        if ('complaint' in reading) continue;
        const earlier = first.get(reading.value.url);
        if (earlier === undefined) first.set(reading.value.url, path);
        else complain(path, `${reading.value.url} is already given by ${formatPath(earlier)}`);
      }
    }
  }
  if (count > countMax.endpoints) {
    complain(['pools'], `must have at most ${countMax.endpoints} endpoints over all pools, has ${count}`);
  }
}

function checkReplays({ path, raw }: Item, complain: Complain): void {
  const { kv_events_urls: publishers = [], kv_events_replay_urls: replays = [] } = raw;
  if (!Array.isArray(publishers) || !Array.isArray(replays) || replays.length === 0) return;
  if (replays.length === publishers.length) return;
  complain([...path, 'kv_events_replay_urls'], `must have as many entries as kv_events_urls (${publishers.length})`);
}

/** Each rank has the port behind that of the one before it. */
function checkRanks({ path, raw }: Item, complain: Complain): void {
  const ranks = settingOf(kvEventsShape.ranks, raw['ranks']);
  for (const key of ['port', 'replay_port'] as const) {
    const port = settingOf(kvEventsShape[key], raw[key]);
    if (ranks === null || port === null || port === 0 || port + ranks - 1 <= portMax) continue;
    complain([...path, key], `must leave room for ${ranks} ranks: their last port is ${port + ranks - 1}`);
  }
}

/** The row's reading of one setting, with its default; null when it is wrong, which is reported elsewhere. */
function settingOf<T>(row: Field<T>, raw: unknown): T | null {
  const result = row.safeParse(raw);
  return result.success ? result.data : null;
}

function checkWeights(root: Item, complain: Complain): void {
  for (const pool of parts(root, 'pools')) {
    const weights = parts(pool, 'endpoints').map(({ raw }) => settingOf(endpointShape.weight, raw['weight']));
    if (weights.length > 0 && weights.every((weight) => weight === 0)) {
      complain([...pool.path, 'endpoints'], 'must not all have weight 0');
    }
  }
}

function checkSizes(root: Item, complain: Complain): void {
  for (const pool of parts(root, 'pools')) checkEjection(part(pool, 'ejection'), complain);
  const limits = part(root, 'limits');
  const bodyBytesMax = settingOf(limitsShape.body_bytes_max, limits.raw['body_bytes_max']);
  const bufferedBytesMax = settingOf(limitsShape.buffered_bytes_max, limits.raw['buffered_bytes_max']);
  if (bodyBytesMax === null || bufferedBytesMax === null || bufferedBytesMax >= bodyBytesMax) return;
  // The one that is written is the one to point at; the other may be a default.
  const key = limits.raw['buffered_bytes_max'] === undefined ? 'body_bytes_max' : 'buffered_bytes_max';
  complain(
    [...limits.path, key],
    `buffered_bytes_max (${bufferedBytesMax} bytes) must not be less than body_bytes_max (${bodyBytesMax} bytes)`,
  );
}

function checkEjection(ejection: Item, complain: Complain): void {
  const baseMs = settingOf(ejectionShape.base_ms, ejection.raw['base_ms']);
  const maxMs = settingOf(ejectionShape.max_ms, ejection.raw['max_ms']);
  if (baseMs === null || maxMs === null || maxMs >= baseMs) return;
  const key = ejection.raw['max_ms'] === undefined ? 'base_ms' : 'max_ms';
  complain([...ejection.path, key], `max_ms (${maxMs} ms) must not be less than base_ms (${baseMs} ms)`);
}

function checkTls(root: Item, complain: Complain): void {
  for (const listener of parts(root, 'listeners')) {
    const tls = part(listener, 'tls');
    const { client_auth: auth = 'none', client_ca_path: ca = null } = tls.raw;
    // A file of authorities that nobody is checked against looks like protection.
    if (auth === 'none' && ca !== null) {
      complain([...tls.path, 'client_ca_path'], 'has no effect with client_auth none: make that optional or required');
    } else if (auth !== 'none' && ca === null) {
      complain([...tls.path, 'client_auth'], 'needs client_ca_path, the authorities to verify with');
    }
    const named = parts(tls, 'certificates').flatMap((certificate) => words(certificate, 'server_names'));
    const folded = named.map(({ path, text }) => ({ path, text: text.toLowerCase() }));
    checkUnique('server name', folded, complain);
  }
}
