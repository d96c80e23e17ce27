/** The elements that the plots of loadtest/ and native-bench/ are drawn with. */

/** @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 */
export function line(x1, y1, x2, y2) {
  const ends = `x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}"`;
  return `<line ${ends} stroke="#dddddd"/>`;
}

/** @param {number} x @param {number} y @param {'start' | 'middle' | 'end'} anchor @param {string} content */
export function text(x, y, anchor, content) {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

/** @param {string} content */
export function escaped(content) {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;');
}
