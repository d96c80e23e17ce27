/**
 * core: what every other folder may lean on. It knows nothing of HTTP, of models or of threads.
 *
 * Read in this order: assert (what happens when our own logic is wrong), clock (the one time base), ids, rate-gauge, zmtp (ZeroMQ's framing,
 * which control reads and the simulated engine writes).
 */
export { assert, bug, bugCounts, fail, InvariantError, onBug } from './assert.ts';
export { Clock } from './clock.ts';
export { requestIdFrom, uuidV7 } from './ids.ts';
export { RateGauge } from './rate-gauge.ts';
export {
  subscribeByte,
  zmtpCommand,
  zmtpGreeting,
  zmtpMessage,
  ZmtpReader,
  zmtpReady,
  zmtpSocketType,
} from './zmtp.ts';
export type { ZmtpSink } from './zmtp.ts';
