// Cost of hashing a prompt for routing by KV cache, against one digest of the whole.
import { createHash } from 'node:crypto';
import { bench, do_not_optimize, run } from 'mitata';
import { PrefixHash } from './prefix-hash.ts';

const hash = new PrefixHash();
const pieceBytes = 256 * 1024;

for (const bytes of [3 * 1024, 256 * 1024, 3 * 1024 * 1024]) {
  const body = Buffer.alloc(bytes, 'pump valve tide gauge ');
  bench(`prefix hash, ${bytes} bytes`, () => {
    hash.reset();
    for (let at = 0; at < bytes; at += pieceBytes) hash.push(body, at, Math.min(bytes, at + pieceBytes));
    do_not_optimize(hash.blockCount);
  });
  bench(`sha1 of the whole, ${bytes} bytes`, () => do_not_optimize(createHash('sha1').update(body).digest()));
}

await run();
