/** Counts what went wrong and keeps the first few in words: the millionth says no more than the third. */
const keptCountMax = 5;

export class FailureList {
  /** @type {string[]} */
  first = [];
  count = 0;

  /** @param {string} text */
  add(text) {
    this.count++;
    if (this.first.length < keptCountMax) this.first.push(text);
  }
}
