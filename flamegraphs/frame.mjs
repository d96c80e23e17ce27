/** One function in one chain of calls, with everything it called. Weights are microseconds. */
export class Frame {
  name;
  area;
  totalUs = 0;
  selfUs = 0;
  /** @type {Map<string, Frame>} by name */
  children = new Map();

  /**
   * @param {string} name
   * @param {string} area see areas.mjs
   */
  constructor(name, area) {
    this.name = name;
    this.area = area;
  }

  /**
   * Adds one weight to the chain that starts here.
   * @param {readonly { name: string, area: string }[]} stack from the outermost call to the innermost
   * @param {number} us
   */
  add(stack, us) {
    /** @type {Frame} */
    let at = this;
    at.totalUs += us;
    for (const { name, area } of stack) {
      let child = at.children.get(name);
      if (child === undefined) {
        child = new Frame(name, area);
        at.children.set(name, child);
      }
      child.totalUs += us;
      at = child;
    }
    at.selfUs += us;
  }

  /**
   * Self time by key, the largest first.
   * @param {(frame: Frame) => string} keyOf
   * @returns {[string, number][]}
   */
  selfBy(keyOf) {
    /** @type {Map<string, number>} */
    const sums = new Map();
    const visit = (/** @type {Frame} */ frame) => {
      if (frame.selfUs > 0) sums.set(keyOf(frame), (sums.get(keyOf(frame)) ?? 0) + frame.selfUs);
      for (const child of frame.children.values()) visit(child);
    };
    visit(this);
    return [...sums].sort((a, b) => b[1] - a[1]);
  }
}

/** What one thread did: `root.totalUs` busy, `idleUs` waiting. @typedef {{ name: string, root: Frame, idleUs: number }} ThreadProfile */
