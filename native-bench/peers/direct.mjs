/** No proxy at all: what the engine, the generator and the machine can do. */

/** @type {import('../types.d.ts').Peer} */
export const direct = {
  name: 'direct',
  summary: 'no proxy: the ceiling',
  find: () => '',
  start: async ({ enginePort }) => ({ port: enginePort, pid: 0, headers: {}, stop: async () => {} }),
};
