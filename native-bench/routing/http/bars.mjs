/** Horizontal bars as SVG text: what was measured, its range over the rounds, and a mark where it was predicted. */
import { line, text } from '../../../loadtest/svg.mjs';

const width = 900;
const top = 64;
const rowHeight = 26;
const groupGap = 34;
const plot = { left: 150, right: 90 };
const barHeight = 15;

/**
 * @typedef {{ name: string, measured: import('./verdict.mjs').Range, predicted: number }} BarRow
 * @typedef {{ title: string, unit: string, scale: number, rows: readonly BarRow[] }} BarGroup
 */

/** @param {{ title: string, subtitle: string, groups: readonly BarGroup[] }} chart */
export function barsSvg({ title, subtitle, groups }) {
  const height = top + groups.reduce((sum, { rows }) => sum + groupGap + rows.length * rowHeight, 0);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(16, 24, 'start', title).replace('<text ', '<text font-size="16" '),
    text(16, 44, 'start', subtitle).replace('<text ', '<text fill="#555555" '),
  ];
  let y = top;
  for (const { title: name, unit, scale, rows } of groups) {
    const most = Math.max(...rows.flatMap(({ measured, predicted }) => [measured.high, predicted]));
    const x = (/** @type {number} */ value) => plot.left + (value / most) * (width - plot.left - plot.right);
    const bottom = y + groupGap + rows.length * rowHeight - 8;
    parts.push(text(16, y + groupGap - 12, 'start', `${name}, ${unit}`).replace('<text ', '<text font-weight="bold" '));
    parts.push(line(plot.left, y + groupGap - 6, plot.left, bottom));
    for (const [index, { name: label, measured, predicted }] of rows.entries()) {
      const at = y + groupGap + index * rowHeight;
      const middle = at + barHeight / 2;
      const colour = label.startsWith('kv_aware') ? '#1b6ca8' : '#c9a227';
      const end = x(measured.median);
      parts.push(text(plot.left - 8, middle + 4, 'end', label));
      parts.push(
        `<rect x="${plot.left}" y="${at}" width="${(end - plot.left).toFixed(1)}" height="${barHeight}" fill="${colour}"/>`,
      );
      const whisker = `x1="${x(measured.low).toFixed(1)}" x2="${x(measured.high).toFixed(1)}" y1="${middle}" y2="${middle}"`;
      parts.push(`<line ${whisker} stroke="#222222" stroke-width="1.5"/>`);
      const mark = x(predicted).toFixed(1);
      parts.push(
        `<line x1="${mark}" x2="${mark}" y1="${at - 3}" y2="${at + barHeight + 3}" stroke="#c8553d" stroke-width="3"/>`,
      );
      const value = (measured.median * scale).toFixed(scale === 100 ? 1 : 0);
      parts.push(text(Math.max(end, x(measured.high), Number(mark)) + 8, middle + 4, 'start', value));
    }
    y = y + groupGap + rows.length * rowHeight;
  }
  return `${parts.join('\n')}\n</svg>\n`;
}
