/** The gateway process, started by `penstock run`: starts control, which starts shards and workers; nothing else. */
import { runGateway } from './control/index.ts';

await runGateway({
  argv: process.argv.slice(2),
  env: process.env,
  shardUrl: new URL('shard/thread.js', import.meta.url),
});
