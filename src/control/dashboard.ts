import { createHash } from 'node:crypto';

/**
 * The page of `GET /`: one string, no other resource, no framework. It asks /status and /histograms every two seconds and
 * draws tables with textContent, so that no name from a config or a request can become markup.
 */
export const dashboardPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Penstock</title>
<style>
:root { color-scheme: light dark; --line: light-dark(#d8dde3, #30363d); --soft: light-dark(#5b6570, #9aa4af); }
body { font: 14px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1200px; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; }
h2 { font-size: .85rem; margin: 1.6rem 0 .3rem; text-transform: uppercase; letter-spacing: .05em; color: var(--soft); }
#about, #trouble { color: var(--soft); }
#trouble { color: light-dark(#b00020, #ff8a80); }
#cards { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: 1rem; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; min-width: 7rem; }
.card b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .8rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
th.text, td.text { text-align: left; }
.good { color: light-dark(#0a7a33, #5bd68a); }
.bad { color: light-dark(#b00020, #ff8a80); }
</style>
</head>
<body>
<h1>Penstock</h1>
<div id="about"></div>
<div id="trouble" role="status"></div>
<div id="cards"></div>
<h2>Endpoints</h2><div class="scroll"><table id="endpoints"></table></div>
<h2>Latency since start, milliseconds</h2><div class="scroll"><table id="latency"></table></div>
<h2>Shards</h2><div class="scroll"><table id="shards"></table></div>
<script>
'use strict';
const names = {
  penstock_request_duration_seconds: 'request duration', penstock_ttft_seconds: 'time to first token',
  penstock_itl_seconds: 'between tokens', penstock_overhead_seconds: 'gateway overhead',
  penstock_queue_wait_seconds: 'queue wait', penstock_event_loop_lag_seconds: 'event loop lag',
};
let last = null;
const number = (value) => value === null ? '–' : Math.round(value).toLocaleString('en');
const ms = (value) => value === null ? '–' : value >= 100 ? number(value) : value.toPrecision(2);
const percent = (value) => value === null ? '–' : Math.round(value * 100) + ' %';
function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < 4) { value /= 1024; unit++; }
  return (unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)) + ' ' + units[unit];
}
function age(s) {
  return s < 60 ? Math.floor(s) + ' s' : s < 3600 ? Math.floor(s / 60) + ' min' : (s / 3600).toFixed(1) + ' h';
}
function cell(tag, value, isText) {
  const element = document.createElement(tag);
  element.textContent = value;
  if (isText) element.className = 'text';
  return element;
}
// columns: [title, isText]; rows: arrays of values.
function draw(id, columns, rows) {
  const head = document.createElement('tr');
  for (const [title, isText] of columns) head.append(cell('th', title, isText));
  const lines = rows.map((row) => {
    const line = document.createElement('tr');
    row.forEach((value, index) => {
      const element = cell('td', value, columns[index][1]);
      if (value === 'healthy' || value === 'listening') element.classList.add('good');
      if (value === 'unhealthy' || value === 'ejected' || value === 'exited') element.classList.add('bad');
      line.append(element);
    });
    return line;
  });
  document.getElementById(id).replaceChildren(head, ...lines);
}
function card(title, value) {
  const element = document.createElement('div');
  element.className = 'card';
  element.append(cell('b', value), cell('span', title));
  return element;
}
function show(status, histograms) {
  const now = performance.now();
  const rate = (key) => last === null || last.status.pid !== status.pid ? '–'
    : ((status[key] - last.status[key]) * 1000 / (now - last.at)).toFixed(1);
  document.getElementById('about').textContent = status.version + ' · ' + status.phase + ' · up ' + age(status.uptime_s)
    + ' · config version ' + status.config_version
    + ' · ' + status.listeners.map((one) => one.name + ' on ' + one.address).join(', ');
  const endpoints = status.pools.flatMap((pool) => pool.endpoints.map((endpoint) => ({ pool, endpoint })));
  document.getElementById('cards').replaceChildren(
    card('requests/s', rate('requests_total')), card('tokens/s', rate('tokens_total')),
    card('in flight', number(endpoints.reduce((sum, one) => sum + one.endpoint.inflight, 0))),
    card('queued', number(status.pools.reduce((sum, pool) => sum + pool.queued, 0))),
    card('requests', number(status.requests_total)), card('bodies held', bytes(status.buffered_bytes)),
    card('resident memory', bytes(status.rss_bytes)));
  draw('endpoints',
    [['pool', 1], ['endpoint', 1], ['state', 1], ['engine', 1], ['in flight', 0], ['tokens', 0], ['connections', 0],
      ['queue', 0], ['running', 0], ['KV cache', 0], ['TTFT ms', 0]],
    endpoints.map(({ pool, endpoint }) => [pool.name, endpoint.url, endpoint.state, endpoint.engine ?? pool.engine,
      number(endpoint.inflight), number(endpoint.inflight_tokens), number(endpoint.connections), number(endpoint.queue),
      number(endpoint.running), percent(endpoint.kv_usage), ms(endpoint.ttft_ewma_ms)]));
  draw('latency',
    [['of', 1], ['labels', 1], ['count', 0], ['p50', 0], ['p90', 0], ['p99', 0], ['p99.9', 0], ['max', 0]],
    histograms.filter((one) => one.count > 0 && names[one.name]).map((one) => [names[one.name],
      Object.values(one.labels).join(' · '), number(one.count), ms(one.percentiles.p50), ms(one.percentiles.p90),
      ms(one.percentiles.p99), ms(one.percentiles['p99.9']), ms(one.max)]));
  draw('shards',
    [['shard', 0], ['state', 1], ['connections', 0], ['requests', 0], ['bodies held', 0], ['restarts', 0], ['up', 0]],
    status.shards.map((shard) => [shard.index, shard.state, number(shard.connections), number(shard.requests_total),
      bytes(shard.buffered_bytes), shard.restarts, age(shard.uptime_s)]));
  last = { status, at: now };
}
const token = new URLSearchParams(location.hash.slice(1)).get('token'); // A fragment never leaves the browser.
const headers = token === null ? {} : { authorization: 'Bearer ' + token };
async function ask(path) {
  const answer = await fetch(path, { headers });
  if (!answer.ok) throw new Error(path + ' answered ' + answer.status);
  return answer.json();
}
async function refresh() {
  try {
    const [status, { histograms }] = await Promise.all([ask('/status'), ask('/histograms')]);
    show(status, histograms);
    document.getElementById('trouble').textContent = '';
  } catch (error) {
    document.getElementById('trouble').textContent = 'No answer: ' + error.message;
  }
  setTimeout(refresh, 2000);
}
refresh();
</script>
</body>
</html>
`;

/** Only its own style and script run, by their digests, and it asks nobody but the port it came from. */
export const dashboardPolicy = [
  "default-src 'none'",
  `style-src '${digestOf('style')}'`,
  `script-src '${digestOf('script')}'`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

function digestOf(element: 'style' | 'script'): string {
  const content = new RegExp(`<${element}>([^]*?)</${element}>`).exec(dashboardPage)![1]!;
  return `sha256-${createHash('sha256').update(content).digest('base64')}`;
}
