/**
 * The file before it is known to be right: just the maps that are there, under the paths they have.
 *
 * Relations (names that must exist, sizes that must fit) are checked on it, and not on the finished config, so that a
 * typo in one section does not hide a dangling name in another: the author sees all problems in one go.
 */
import type { Path } from './problem.ts';
import { isRawMap } from './reading.ts';
import type { RawMap } from './reading.ts';

export interface Item {
  readonly path: Path;
  readonly raw: RawMap;
}

/** The map under `key`; an empty one when there is none. */
export function part(item: Item, key: string): Item {
  const raw = item.raw[key];
  return { path: [...item.path, key], raw: isRawMap(raw) ? raw : {} };
}

/** The maps in the list under `key`; whatever else is in it is skipped. */
export function parts(item: Item, key: string): readonly Item[] {
  const list = item.raw[key];
  if (!Array.isArray(list)) return [];
  return list.flatMap((raw: unknown, index): Item[] =>
    isRawMap(raw) ? [{ path: [...item.path, key, index], raw }] : [],
  );
}

export interface Word {
  readonly path: Path;
  readonly text: string;
}

/** The text under `key`, alone or in a list; whatever else is there is skipped. */
export function words(item: Item, key: string): readonly Word[] {
  const value = item.raw[key];
  const path = [...item.path, key];
  if (typeof value === 'string') return [{ path, text: value }];
  if (!Array.isArray(value)) return [];
  return value.flatMap((text: unknown, index): Word[] =>
    typeof text === 'string' ? [{ path: [...path, index], text }] : [],
  );
}

/** Everything in the file that names another file, with the map and key that hold it. */
export function fileReferences(
  root: Item,
): readonly { readonly holder: Item; readonly key: string; readonly text: string }[] {
  const holders: [Item, string][] = [];
  for (const listener of parts(root, 'listeners')) {
    const tls = part(listener, 'tls');
    for (const certificate of parts(tls, 'certificates')) {
      holders.push([certificate, 'cert_path'], [certificate, 'key_path']);
    }
    holders.push([tls, 'client_ca_path']);
  }
  for (const pool of parts(root, 'pools')) holders.push([part(pool, 'tls'), 'ca_path']);
  holders.push([part(part(root, 'sharing'), 'tls'), 'ca_path']);
  for (const chain of parts(root, 'filter_chains')) {
    for (const filter of parts(chain, 'filters')) holders.push([filter, 'module']);
  }
  return holders.flatMap(([holder, key]) => {
    const text = holder.raw[key];
    return typeof text === 'string' && text !== '' ? [{ holder, key, text }] : [];
  });
}
