/** A flame graph as one SVG without anything from outside. The outermost call is on top; a click zooms, one on top goes back. */
import { colourOf } from './areas.mjs';

const width = 1200;
const rowHeight = 17;
const top = 74;
/** Characters of the font, on average. */
const characterWidth = 6.6;
/** Narrower frames are not drawn; what they weigh is still in the frame above. */
const shareMin = 0.0005;

/**
 * @param {import('./frame.mjs').Frame} root
 * @param {{ title: string, subtitle: string }} heading
 */
export function flameSvg(root, { title, subtitle }) {
  /** @type {string[]} */
  const frames = [];
  let depthMax = 0;
  const draw = (
    /** @type {import('./frame.mjs').Frame} */ frame,
    /** @type {number} */ x,
    /** @type {number} */ depth,
  ) => {
    const share = root.totalUs === 0 ? 0 : frame.totalUs / root.totalUs;
    if (share < shareMin && depth > 0) return;
    depthMax = Math.max(depthMax, depth);
    frames.push(frameOf(frame, x, depth, share));
    let at = x;
    for (const child of [...frame.children.values()].sort((a, b) => b.totalUs - a.totalUs)) {
      draw(child, at, depth + 1);
      at += child.totalUs / root.totalUs;
    }
  };
  draw(root, 0, 0);
  const height = top + (depthMax + 1) * rowHeight + 10;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="monospace" font-size="11">`,
    '<style>g:hover&gt;rect{stroke:#000}g{cursor:pointer}text{pointer-events:none}</style>',
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="10" y="22" font-size="16" font-family="sans-serif">${escaped(title)}</text>`,
    `<text x="10" y="40" fill="#555555" font-family="sans-serif">${escaped(subtitle)}</text>`,
    legendOf(root),
    ...frames,
    `<script>//<![CDATA[\n${zoomScript}\n//]]></script>`,
    '</svg>\n',
  ].join('\n');
}

/**
 * @param {import('./frame.mjs').Frame} frame
 * @param {number} x share of the width at which it starts
 * @param {number} depth
 * @param {number} share
 */
function frameOf(frame, x, depth, share) {
  const y = top + depth * rowHeight;
  const w = share * width;
  const ms = (/** @type {number} */ us) => `${(us / 1000).toFixed(1)} ms`;
  const title = `${frame.name}: ${ms(frame.totalUs)}, ${(share * 100).toFixed(2)} % (itself ${ms(frame.selfUs)}), ${frame.area}`;
  return (
    `<g data-x="${x.toFixed(6)}" data-w="${share.toFixed(6)}" data-d="${depth}"><title>${escaped(title)}</title>` +
    `<rect x="${(x * width).toFixed(1)}" y="${y}" width="${w.toFixed(1)}" height="${rowHeight - 1}" fill="${colourOf(frame.area)}"/>` +
    `<text x="${(x * width + 3).toFixed(1)}" y="${y + 12}">${escaped(clipped(frame.name, w))}</text></g>`
  );
}

/** Self time by area. @param {import('./frame.mjs').Frame} root */
function legendOf(root) {
  let x = 10;
  const parts = [];
  for (const [area, us] of root.selfBy(({ area }) => area)) {
    const label = `${area} ${((us / root.totalUs) * 100).toFixed(1)} %`;
    parts.push(
      `<rect x="${x}" y="52" width="10" height="10" fill="${colourOf(area)}"/><text x="${x + 14}" y="61">${escaped(label)}</text>`,
    );
    x += 26 + label.length * characterWidth;
    if (x > width - 120) break;
  }
  return parts.join('\n');
}

/**
 * @param {string} text
 * @param {number} w
 */
function clipped(text, w) {
  const count = Math.floor((w - 6) / characterWidth);
  if (count < 3) return '';
  return text.length <= count ? text : `${text.slice(0, count - 1)}…`;
}

/** @param {string} text */
function escaped(text) {
  // XML has no way to write most control characters.
  const printable = text.replace(/[^\P{Cc}\t\n]/gu, '?');
  return printable.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

/** Runs in the viewer. `data-x`, `data-w`: share of the width; `data-d`: depth. */
const zoomScript = `const all = [...document.querySelectorAll('g[data-x]')].map((g) => ({ g, x: +g.dataset.x, w: +g.dataset.w, d: +g.dataset.d,
  rect: g.querySelector('rect'), text: g.querySelector('text'), name: g.querySelector('title').textContent.replace(/: [0-9.]+ ms, .*$/, '') }));
function zoom(to) {
  for (const f of all) {
    // Callers of the chosen frame fill the width; what is beside it goes.
    const isOuter = f.d < to.d && f.x <= to.x + 1e-6 && f.x + f.w >= to.x + to.w - 1e-6;
    const isInner = f.d >= to.d && f.x >= to.x - 1e-6 && f.x + f.w <= to.x + to.w + 1e-6;
    f.g.style.display = isOuter || isInner ? '' : 'none';
    const x = isOuter ? 0 : ((f.x - to.x) / to.w) * ${width};
    const w = isOuter ? ${width} : (f.w / to.w) * ${width};
    f.rect.setAttribute('x', x);
    f.rect.setAttribute('width', w);
    f.text.setAttribute('x', x + 3);
    const n = Math.floor((w - 6) / ${characterWidth});
    f.text.textContent = n < 3 ? '' : f.name.length <= n ? f.name : f.name.slice(0, n - 1) + '…';
  }
}
for (const f of all) f.g.addEventListener('click', () => zoom(f));`;
