/** FNV-1a over UTF-16 units, then murmur3's finaliser: cheap, well mixed, the same in every shard and process. */
export function hashText(text: string, seed: number = 0): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(hash);
}

/** Of the name of a model, for the tables of what endpoints have; never 0. */
export function modelKeyOf(name: string): number {
  return hashText(name) || 1;
}

/** An unsigned 32-bit mix of two hashes. */
export function mixPair(first: number, second: number): number {
  return mix(first ^ Math.imul(second, 0x9e3779b1));
}

function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
