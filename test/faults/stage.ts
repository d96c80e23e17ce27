import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Clients } from './asking.ts';
import { Engine } from './engine.ts';
import { Gateway, type GatewayOptions } from './gateway.ts';
import { contradictions } from './three-logs.ts';

/** What a row wants of the gateway. In all texts `$E0`, `$E1`, ... stand for the URLs of the row's engines. */
export interface Plan extends Omit<Partial<GatewayOptions>, 'yaml'> {
  readonly engines?: number;
  /** Keys of pool `m` beside its name and endpoints, as YAML flow; in place of the usual ones of the same name. */
  readonly pool?: string;
  /** Further endpoints of pool `m`. */
  readonly endpoints?: readonly string[];
  /** Targets of model `m`, and the further pools they need, as YAML flow. */
  readonly targets?: string;
  readonly pools?: readonly string[];
  /** Further models, as lines of the list. */
  readonly models?: string;
  /** Further filters, behind request_id and access_log. */
  readonly filters?: readonly string[];
  readonly timeouts?: string;
  /** Further top-level sections. */
  readonly top?: string;
  readonly shards?: number;
  /** Without traffic beside the fault. */
  readonly isQuiet?: boolean;
}

/** What the traffic beside the fault saw. */
export interface CalmReport {
  readonly answers: number;
  readonly errors: readonly string[];
  readonly p99BeforeMs: number;
  readonly p99Ms: number;
}

interface CalmAnswer {
  readonly atMs: number;
  readonly ms: number;
  readonly wrong: string | null;
}

const calmScript = fileURLToPath(new URL('calm-load.mjs', import.meta.url));
/** How long the traffic beside runs before the fault, to compare with. */
const calmBeforeMs = 600;
/** G: all leases are back this long after the fault. */
const leasesBoundMs = 5000;
/** Of the traffic beside. Shared cores make a hundred milliseconds out of ten; a second would be a hang. */
const calmP99BoundMs = 1000;

/** One row's world: engines, the gateway, clients, and traffic that the fault is not meant for. */
export class Stage {
  readonly engines: Engine[] = [];
  readonly clients = new Clients(() => this.gateway.port);
  /** Promises that did not hold, in words. */
  readonly broken: string[] = [];
  /** Figures worth a look, for the table. */
  readonly seen: string[] = [];
  readonly #calmEngineUrl: string;
  readonly #after: (() => void | Promise<void>)[] = [];
  #gateway: Gateway | null = null;
  #before: Gateway | null = null;
  #plan: Plan = {};
  #calm: Worker | null = null;
  #calmAnswers: Promise<CalmAnswer[]> | null = null;
  #faultAtMs = 0;
  #isOver = false;

  /** The row itself ends the process, or has it replaced: then only what is left can be asked. */
  mayRestart = false;
  isProcessOver = false;
  /** The log is what the fault took away; then two logs are left to compare by the row itself. */
  areRecordsLost = false;
  /** The fault is a defect within the gateway, so it is counted as one. */
  areBugsExpected = false;
  /** Why the traffic beside may see errors; empty: it may not. */
  calmErrorsBecause = '';
  calmP99BoundMs = calmP99BoundMs;
  /** Lines of the log that are no defect here. */
  expectedLog: RegExp | null = null;

  constructor(calmEngineUrl: string) {
    this.#calmEngineUrl = calmEngineUrl;
  }

  get gateway(): Gateway {
    if (this.#gateway === null) throw new Error('the row has not started its gateway');
    return this.#gateway;
  }

  /** The row's only engine, or its first. */
  get engine(): Engine {
    return this.engines[0]!;
  }

  /** Runs when the row is over, however it went. */
  after(action: () => void | Promise<void>): void {
    this.#after.push(action);
  }

  /** A folder that goes with the row. */
  folder(): string {
    const path = mkdtempSync(join(tmpdir(), 'penstock-faults-row-'));
    this.after(() => rmSync(path, { recursive: true, force: true }));
    return path;
  }

  /** An engine beside those of the plan. */
  async engineOf(name: string): Promise<Engine> {
    const engine = await Engine.start(name);
    this.engines.push(engine);
    return engine;
  }

  /** Starts engines, gateway and the traffic beside, and lets that run for a moment. */
  async start(plan: Plan = {}): Promise<Gateway> {
    this.#plan = plan;
    for (let number = 0; number < (plan.engines ?? 1); number++) this.engines.push(await Engine.start(`E${number}`));
    this.#gateway = await Gateway.start({ ...plan, yaml: this.yaml(plan), listener: this.#listener(plan) });
    if (plan.isQuiet !== true) await this.startCalm();
    this.#faultAtMs = performance.timeOrigin + performance.now();
    return this.#gateway;
  }

  #listener({ listener }: Plan): string {
    return listener === undefined ? 'filter_chains: [edge]' : `filter_chains: [edge], ${listener}`;
  }

  /** Writes another file for the running gateway; `plan` replaces keys of the first one. */
  configure(plan: Plan): void {
    const whole = { ...this.#plan, ...plan };
    this.gateway.configure(this.yaml(whole), this.#listener(whole), whole.tls);
  }

  yaml(plan: Plan): string {
    const {
      pool = '',
      endpoints = [],
      targets,
      pools = [],
      filters = [],
      timeouts,
      top = '',
      shards = 1,
      models = '',
    } = plan;
    const known = plan.engines === 0 ? [] : this.engines.map(({ url }) => `{ url: "${url}" }`);
    const own = [...known, ...endpoints].join(', ');
    const usual = { engine: 'none', picker: 'round_robin' };
    const keys = Object.entries(usual).filter(([key]) => !new RegExp(`\\b${key}:`).test(pool));
    const flow = [...keys.map(([key, value]) => `${key}: ${value}`), ...(pool === '' ? [] : [pool])].join(', ');
    const text = `runtime: { shards: ${shards} }
timeouts: { drain_ms: 1s${timeouts === undefined ? '' : `, ${timeouts}`} }
models:
  - { name: calm, targets: [{ pool: calm }] }
  - { name: m, targets: ${targets ?? '[{ pool: m }]'} }
${models}pools:
  - { name: calm, engine: none, picker: round_robin, endpoints: [{ url: "${this.#calmEngineUrl}" }] }
  - { name: m, ${flow}, endpoints: [${own}] }
${pools.map((each) => `  - ${each}\n`).join('')}filter_chains:
  - name: edge
    filters: [{ filter: request_id }, { filter: access_log }${filters.map((each) => `, ${each}`).join('')}]
${top}
`;
    return text.replace(/\$E(\d)/g, (_, digit: string) => this.engines[Number(digit)]!.url);
  }

  /** Another process has taken the place of the first. Its log is read with the first one's. */
  replace(gateway: Gateway): void {
    this.#before = this.gateway;
    this.#gateway = gateway;
  }

  /** A setting of the kernel; only where the row is apart. */
  async sysctl(name: string, value: string): Promise<void> {
    await writeFile(`/proc/sys/${name.replaceAll('.', '/')}`, value);
  }

  /** Notes a promise that does not hold. */
  promise(holds: boolean, text: string): void {
    if (!holds) this.broken.push(text);
  }

  note(text: string): void {
    this.seen.push(text);
  }

  /** Waits for `condition`; a promise that it comes about in time. Returns after how many ms it did, or -1. */
  async until(condition: () => boolean | Promise<boolean>, what: string, boundMs = 5000): Promise<number> {
    const startMs = performance.now();
    while (!(await condition())) {
      if (performance.now() - startMs > boundMs || this.#isOver) {
        this.broken.push(`not within ${boundMs} ms: ${what}`);
        return -1;
      }
      await sleep(2);
    }
    return performance.now() - startMs;
  }

  async startCalm(): Promise<void> {
    const workerData = { url: this.gateway.url, engineUrl: this.#calmEngineUrl, model: 'calm' };
    const worker = new Worker(calmScript, { workerData });
    this.#calm = worker;
    await once(worker, 'message');
    this.#calmAnswers = once(worker, 'message').then(([answers]) => answers as CalmAnswer[]);
    await sleep(calmBeforeMs);
  }

  /** The traffic beside stops; before a drain it has to. */
  async stopCalm(): Promise<CalmReport | null> {
    const worker = this.#calm;
    if (worker === null || this.#calmAnswers === null) return null;
    worker.postMessage('over');
    const answers = await this.#calmAnswers;
    this.#calmAnswers = null;
    this.#calm = null;
    await worker.terminate();
    const p99 = (isBefore: boolean): number => {
      const side = answers.filter(({ atMs }) => atMs < this.#faultAtMs === isBefore).map(({ ms }) => ms);
      return side.sort((a, b) => a - b)[Math.floor(side.length * 0.99)] ?? 0;
    };
    const errors = answers.flatMap(({ wrong }) => wrong ?? []);
    this.#report = { answers: answers.length, errors, p99BeforeMs: p99(true), p99Ms: p99(false) };
    return this.#report;
  }

  #report: CalmReport | null = null;

  /** What is promised of every row (G), asked when the fault is over. */
  async settle(): Promise<CalmReport | null> {
    this.clients.close();
    const calm = (await this.stopCalm()) ?? this.#report;
    if (calm !== null) {
      const { errors, p99Ms } = calm;
      this.promise(
        errors.length === 0 || this.calmErrorsBecause !== '',
        `beside it ${errors.length} errors: ${errors[0]}`,
      );
      this.promise(p99Ms < this.calmP99BoundMs, `beside it p99 ${Math.round(p99Ms)} ms`);
      this.promise(calm.answers > 0, 'no traffic beside it was answered');
    }
    const { gateway } = this;
    if (!this.isProcessOver) {
      this.promise(!gateway.isOver, `the process ended with ${gateway.process.exitCode ?? gateway.process.signalCode}`);
      if (!gateway.isOver) await this.#settleProcess();
    }
    const executions = this.engines.flatMap((engine) => engine.executions);
    const records = [...(this.#before?.records() ?? []), ...gateway.records()];
    const told = this.areRecordsLost ? [] : contradictions(this.clients.asked, executions, records);
    this.promise(told.length === 0, `${told.length} contradictions: ${told.slice(0, 3).join('; ')}`);
    const defects = gateway
      .logged(/"level":60|[Uu]ncaught|[Uu]nhandled|shard died|shard ended unasked|process died/)
      .filter((line) => this.expectedLog?.test(line) !== true);
    this.promise(defects.length === 0, `the log has ${defects[0]?.slice(0, 600)}`);
    return calm;
  }

  async #settleProcess(): Promise<void> {
    const { gateway } = this;
    const pid = await gateway.pidNow();
    this.promise(pid !== 0, 'the admin port answers no more');
    if (pid === 0) return;
    this.promise(this.mayRestart || pid === gateway.pid, 'the gateway process was replaced');
    const left = await gateway.leasesLeft(leasesBoundMs);
    this.promise(Object.keys(left).length === 0, `leases out after 5 s: ${JSON.stringify(left)}`);
    const bugs = await gateway.metric('penstock_bug_total');
    this.promise(bugs === 0 || this.areBugsExpected, `penstock_bug_total is ${bugs}`);
    const code = await gateway.stop();
    this.promise(code === 0, `it did not drain and exit with 0, but with ${code}`);
  }

  /** Ends everything the row started. */
  async close(): Promise<void> {
    this.#isOver = true;
    for (const action of this.#after.splice(0).toReversed()) await action();
    this.clients.close();
    await this.#calm?.terminate();
    this.#gateway?.kill();
    this.#gateway?.remove();
    for (const engine of this.engines) await engine.die();
  }
}
