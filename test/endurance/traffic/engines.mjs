/**
 * The scripted engines of a run in one process of their own. Told by messages: `listen` starts them, `flap` makes one after
 * the other refuse connections for moments, `stats` asks for what they counted.
 */
import { wholeBetween, randomOf } from './random.mjs';
import { Engine } from './engine.mjs';

/** @typedef {{ seed: number, count: number, faultRatio: number, ports: number[] }} EngineOrder */

/** @type {Engine[]} */
let engines = [];
/** @type {ReturnType<typeof setTimeout> | null} */
let flapping = null;
let refusalCount = 0;

process.on(
  'message',
  (message) => void onMessage(/** @type {{ id: number, kind: string, order: EngineOrder }} */ (message)),
);
process.once('disconnect', () => process.exit());

/** @param {{ id: number, kind: string, order: EngineOrder }} message */
async function onMessage({ id, kind, order }) {
  if (kind === 'listen') {
    const { seed, count, faultRatio, ports } = order;
    engines = Array.from(
      { length: count },
      (_, index) => new Engine({ random: randomOf(seed + index * 7919), faultRatio }),
    );
    await Promise.all(engines.map((engine, index) => engine.listen(ports[index] ?? 0)));
  } else if (kind === 'flap') {
    flap(randomOf(order.seed));
  } else if (kind === 'calm' && flapping !== null) {
    clearTimeout(flapping);
  }
  process.send?.({
    id,
    ports: engines.map(({ port }) => port),
    stats: engines.map((engine) => engine.stats()),
    refusalCount,
  });
}

/** One engine at a time, never the first: it refuses connections for a moment, and half of the time resets those it has. */
function flap(/** @type {() => number} */ random) {
  flapping = setTimeout(
    () => {
      const engine = engines[wholeBetween(random, 1, engines.length - 1)];
      if (engine === undefined) return;
      refusalCount++;
      engine.stopListening(random() < 0.5);
      setTimeout(() => void engine.listen().then(() => flap(random)), wholeBetween(random, 20, 120));
    },
    wholeBetween(random, 200, 1500),
  );
}
