/**
 * `--cost`: what choosing by prompts adds to a body, in CPU time of the gateway's own code (from `dist/`) on this machine: E9 and
 * E10. The body comes in pieces, as from a socket. Measured is the scan with and without hashing, then what is done once:
 * keys, look-up, choice among 64 endpoints, insertion. Every prompt is a new one, so all of its keys have to be inserted.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environmentOf } from '../../loadtest/environment.mjs';
import { PromptParts, RequestScanner } from '../../dist/http/index.js';
import {
  KvLearned,
  KvPicker,
  makePicker,
  makePolicy,
  openRule,
  pickEndpoint,
  PoolView,
  PromptKeys,
  TriedEndpoints,
} from '../../dist/pick/index.js';
import {
  createPrefixMemory,
  createSharedMemory,
  EndpointState,
  FleetTable,
  otherRow,
  WorkTable,
} from '../../dist/shm/index.js';
import { Draw } from './draw.mjs';
import { isMet } from './report.mjs';

const endpointCount = 64;
const slotCount = 2 ** 20;
const slotBytes = 64;
const pieceBytes = 65_536;
const kib = 1024;
/** Sizes of section E9, and the milliseconds of CPU they may cost at the 99th percentile. */
const bodies = [
  { name: '4 KB', bytes: 4 * kib, limitMs: 0.05, rounds: 40_000 },
  { name: '64 KB', bytes: 64 * kib, limitMs: 0.15, rounds: 8000 },
  { name: '1 MB', bytes: kib * kib, limitMs: 0.7, rounds: 1500 },
  { name: '3 MB', bytes: 3 * kib * kib, limitMs: 2, rounds: 800 },
];
const turnLimitMs = 2;
const keysLimitKib = 43;

/**
 * @param {{ isQuick: boolean, outFolder: string, argv: string[], print: (line: string) => void }} options
 * @returns {number} exit code
 */
export function runCost({ isQuick, outFolder, argv, print }) {
  const environment = environmentOf(argv, 'npm run routing-bench --');
  const rows = bodies.flatMap((body) => {
    const rounds = isQuick ? Math.ceil(body.rounds / 20) : body.rounds;
    return ['one text', 'messages of 1 KB'].map((shape) => measure(body, shape, rounds));
  });
  const checks = [
    ...rows.map(({ size, shape, p99Ms, limitMs }) => ({
      what: `E9: CPU that ${size} in ${shape} add, 99th percentile, ms`,
      value: p99Ms,
      relation: /** @type {const} */ ('<='),
      limit: limitMs,
    })),
    {
      what: 'E9: longest without giving the event loop back, 99th percentile, ms',
      value: Math.max(...rows.map(({ turnP99Ms }) => turnP99Ms)),
      relation: /** @type {const} */ ('<='),
      limit: turnLimitMs,
    },
    {
      what: 'E10: index of a million blocks, MiB',
      value: createPrefixMemory(slotCount, endpointCount, 1).slots.byteLength / kib / kib,
      relation: /** @type {const} */ ('<='),
      limit: 64,
    },
    {
      what: 'E10: what 3 MB take of it, KiB',
      value: Math.max(...rows.map(({ keyCount }) => keyCount * slotBytes)) / kib,
      relation: /** @type {const} */ ('<='),
      limit: keysLimitKib,
    },
  ];
  const text = markdownOf(environment, rows, checks);
  print(text);
  mkdirSync(outFolder, { recursive: true });
  writeFileSync(join(outFolder, 'cost.md'), text);
  writeFileSync(join(outFolder, 'cost.json'), `${JSON.stringify({ environment, rows, checks }, null, 1)}\n`);
  return 0;
}

/** @param {typeof bodies[number]} body @param {string} shape @param {number} rounds */
function measure({ name, bytes, limitMs }, shape, rounds) {
  const { body, stamp } = bodyOf(bytes, shape === 'one text' ? bytes : kib);
  const gateway = new Gateway();
  const scanner = new RequestScanner();
  // Compiled, and the index half full, before anything counts.
  for (let round = 0; round < rounds / 4; round++) {
    stamp();
    scanIn(scanner, null, body);
    gateway.take(body);
  }
  const plain = [];
  const added = [];
  const turns = [];
  let keyCount = 0;
  for (let round = 0; round < rounds; round++) {
    stamp();
    const before = cpuMs();
    scanIn(scanner, null, body);
    plain.push(cpuMs() - before);
    const taken = gateway.take(body);
    added.push(taken.ms);
    turns.push(taken.longestMs);
    keyCount = taken.keyCount;
  }
  const plainMs = percentile(plain, 0.5);
  return {
    size: name,
    shape,
    limitMs,
    rounds,
    keyCount,
    plainMs,
    // The scan is done in any case. Its median: two tails must not be taken from one another.
    p50Ms: percentile(added, 0.5) - plainMs,
    p99Ms: percentile(added, 0.99) - plainMs,
    turnP99Ms: percentile(turns, 0.99),
  };
}

/** @param {RequestScanner} scanner @param {PromptParts | null} parts @param {Buffer} body */
function scanIn(scanner, parts, body) {
  parts?.reset();
  scanner.reset(parts);
  for (let at = 0; at < body.length; at += pieceBytes) scanner.push(body, at, Math.min(body.length, at + pieceBytes));
  scanner.finish();
}

/** One shard's part in it. */
class Gateway {
  #parts = new PromptParts();
  #scanner = new RequestScanner();
  #keys = new PromptKeys();
  #view;
  #kv;
  #fleet;
  #nowMs = 1_000_000;

  constructor() {
    const memory = createSharedMemory({ shardCount: 1, endpointCountMax: endpointCount, bufferedBytesMax: kib });
    const control = new FleetTable(memory, -1);
    this.#fleet = new FleetTable(memory, 0);
    const endpoints = Array.from({ length: endpointCount }, (_, index) => {
      const slot = control.claim();
      control.setState(slot, EndpointState.healthy);
      return { url: `http://10.0.0.${index}:8000`, slot, weight: 1 };
    });
    this.#view = new PoolView(endpoints, this.#fleet, openRule);
    const draw = new Draw(1);
    const random = () => draw.ratio();
    this.#kv = new KvPicker({
      view: this.#view,
      memory: createPrefixMemory(slotCount, 256, 2_000_000),
      work: new WorkTable(memory, 0),
      number: 0,
      journal: null,
      ordinals: endpoints.map((_, index) => index),
      learned: new KvLearned(),
      policy: makePolicy('kv_aware', this.#view.hashes, random),
      residents: null,
      fallback: makePicker('kv_aware', endpointCount, { random, shardIndex: 0 }),
      random,
    });
  }

  /** @param {Buffer} body */
  take(body) {
    const parts = this.#parts;
    const keys = this.#keys;
    this.#nowMs += 50;
    parts.reset();
    this.#scanner.reset(parts);
    const startMs = cpuMs();
    let longestMs = 0;
    let turnMs = startMs;
    for (let at = 0; at < body.length; at += pieceBytes) {
      this.#scanner.push(body, at, Math.min(body.length, at + pieceBytes));
      const nowMs = cpuMs();
      if (at + pieceBytes < body.length) {
        longestMs = Math.max(longestMs, nowMs - turnMs);
        turnMs = nowMs;
      }
    }
    this.#scanner.finish();
    if (!parts.finish()) throw new Error('the body was not read as a prompt');
    keys.read(parts);
    keys.seal(1, 2);
    const request = {
      prompt: keys,
      modelLabel: 'm',
      flow: 0,
      endpointIndex: -1,
      estimatedTokens: -1,
      matchedTokens: -1,
      pendingTokens: 0,
      aheadTokens: 0,
      score: Number.NaN,
      hashKey: 0,
      tried: new TriedEndpoints(),
      modelRow: otherRow,
      mayProbe: true,
      fits: null,
      modelKey: 0,
      contextTokens: 0,
      loading: 0,
    };
    this.#kv.look(request);
    request.endpointIndex = pickEndpoint(this.#view, this.#kv, request, this.#nowMs);
    this.#kv.place(request, request.endpointIndex);
    const endMs = cpuMs();
    this.#kv.giveUp(request);
    this.#fleet.giveInflight(this.#view.endpoints[request.endpointIndex].slot);
    return { ms: endMs - startMs, longestMs: Math.max(longestMs, endMs - turnMs), keyCount: keys.count };
  }
}

/** A chat of about so many bytes, whose first words are new after each `stamp`. @param {number} bytes @param {number} messageBytes */
function bodyOf(bytes, messageBytes) {
  const words = 'pump valve tide gauge strainer suction harbour crane winch bearing ';
  const content = words.repeat(Math.ceil(messageBytes / words.length));
  const overhead = 40;
  const count = Math.max(1, Math.round(bytes / messageBytes));
  const messages = Array.from({ length: count }, (_, index) => ({
    role: 'user',
    content: `${index === 0 ? '00000000 ' : ''}${content.slice(0, Math.max(1, messageBytes - overhead))}`,
  }));
  const body = Buffer.from(JSON.stringify({ messages, model: 'm' }));
  const at = body.indexOf('00000000');
  let stamps = 0;
  return { body, stamp: () => body.write(String(++stamps).padStart(8, '0'), at, 'latin1') };
}

/** Of all threads of this process: collections and compilation count. */
function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** @param {readonly number[]} values @param {number} share */
function percentile(values, share) {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))];
}

/**
 * @param {import('../../loadtest/types.d.ts').Environment} environment
 * @param {readonly ReturnType<typeof measure>[]} rows
 * @param {readonly import('./experiments/index.mjs').Check[]} checks
 */
function markdownOf({ command, node, cpu, commit }, rows, checks) {
  const us = (/** @type {number} */ ms) => `${Math.round(ms * 1000)} us`;
  return [
    '# What choosing by prompts costs',
    '',
    `Written by \`${command}\`: Node ${node}, ${cpu}, commit ${commit}. CPU time of the process, so other load on the machine hardly counts.`,
    '',
    '| | Found | Wanted | |',
    '| --- | ---: | ---: | --- |',
    ...checks.map((check) => {
      const outcome = isMet(check) ? 'pass' : '**miss**';
      return `| ${check.what} | ${Number(check.value.toPrecision(3))} | ${check.relation} ${check.limit} | ${outcome} |`;
    }),
    '',
    '| Body | Shape | Keys | Scan without it | Added, median | 99th percentile | Longest turn, 99th percentile |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: |',
    ...rows.map(
      (row) =>
        `| ${row.size} | ${row.shape} | ${row.keyCount} | ${us(row.plainMs)} | ${us(row.p50Ms)} | ${us(row.p99Ms)} | ${us(row.turnP99Ms)} |`,
    ),
    '',
  ].join('\n');
}
