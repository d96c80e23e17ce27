/** V8's .cpuprofile files, one a thread, as trees. */
import { scriptFrame } from './areas.mjs';
import { Frame } from './frame.mjs';

/**
 * @typedef {{ functionName: string, url: string, lineNumber: number }} CallFrame `lineNumber` is 0-based
 * @typedef {{ id: number, callFrame: CallFrame, children?: number[] }} ProfileNode
 * @typedef {{ nodes: ProfileNode[], startTime: number, endTime: number, samples: number[], timeDeltas: number[] }} CpuProfile
 *   times in microseconds of the monotonic clock
 * @typedef {{ name: string, area: string }[]} Stack
 */

/**
 * The part of a profile between two instants, in which every sample weighs the same and all together weigh what the thread
 * lived of it. The time to the next sample would say more on an idle machine; on a busy one a gap of 20 ms means that the
 * sampling thread got no core, and nothing about the function before it.
 * @param {CpuProfile} profile
 * @param {{ fromUs: number, toUs: number }} window monotonic clock; a thread may have started later or ended sooner
 */
export function treeOf(profile, { fromUs, toUs }) {
  const stacks = stacksOf(profile);
  /** @type {Stack[]} */
  const seen = [];
  let atUs = profile.startTime;
  for (const [index, id] of profile.samples.entries()) {
    atUs += profile.timeDeltas[index] ?? 0;
    const stack = stacks.get(id);
    if (stack !== undefined && atUs >= fromUs && atUs <= toUs) seen.push(stack);
  }
  const livedUs = Math.max(0, Math.min(toUs, profile.endTime) - Math.max(fromUs, profile.startTime));
  const root = new Frame('all', 'native');
  let idleUs = 0;
  for (const stack of seen) {
    if (stack.at(-1)?.name === '(idle)') idleUs += livedUs / seen.length;
    else root.add(stack, livedUs / seen.length);
  }
  return { root, idleUs };
}

/**
 * Which thread of the gateway a profile is of, by the script that it started with.
 * @param {CpuProfile} profile
 */
export function threadKindOf(profile) {
  const urls = new Set(profile.nodes.map(({ callFrame }) => callFrame.url));
  const has = (/** @type {RegExp} */ script) => [...urls].some((url) => script.test(url));
  if (has(/\/thread-stream\/lib\/worker\.js$/)) return 'log';
  if (has(/\/dist\/shard\/thread\.js$/)) return 'shard';
  if (has(/\/piscina\/dist\/worker\.js$/)) return 'worker';
  return has(/\/dist\/(?:main\.js$|control\/)/) ? 'control' : 'thread';
}

/** By node id, from the outermost call to the innermost, `(root)` left out. @param {CpuProfile} profile */
function stacksOf({ nodes }) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  /** @type {Map<number, Stack>} */
  const stacks = new Map();
  const visit = (/** @type {ProfileNode} */ node, /** @type {Stack} */ outer) => {
    const { functionName, url, lineNumber } = node.callFrame;
    const stack = functionName === '(root)' ? [] : [...outer, scriptFrame(functionName, url, lineNumber + 1)];
    stacks.set(node.id, stack);
    for (const id of node.children ?? []) {
      const child = byId.get(id);
      if (child !== undefined) visit(child, stack);
    }
  };
  const [first] = nodes;
  if (first !== undefined) visit(first, []);
  return stacks;
}
