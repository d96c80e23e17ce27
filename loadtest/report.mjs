/** The result as a person reads it in a terminal. */

const columns = /** @type {const} */ (['p50', 'p90', 'p97_5', 'p99', 'p99_9', 'max']);
const labelWidth = 22;
const cellWidth = 10;
/** Of one core. A generator with less headroom than this measures itself. */
const generatorCpuRatioMax = 0.7;

/** @param {import('./types.d.ts').Result} result */
export function reportOf(result) {
  const { scenario, environment: env, settings } = result;
  const rate = settings.rate === 0 ? 'no rate set' : `${settings.rate}/s`;
  const lines = [
    `${scenario}: ${settings.target}, ${settings.durationS} s${settings.repeatCount > 1 ? ` ${settings.repeatCount} times` : ''}, ${settings.connections} connections, ${rate}`,
    `${env.cpu}, ${env.cores} cores, Linux ${env.kernel}, Node ${env.node}, commit ${env.commit}`,
    '',
    `${'ms'.padEnd(labelWidth)}${columns.map((name) => name.replace('_', '.').padStart(cellWidth)).join('')}`,
  ];
  for (const phase of result.phases) {
    for (const [name, distribution] of Object.entries(phase.distributions)) {
      const cells = columns.map((column) => distribution[column].toFixed(2).padStart(cellWidth));
      lines.push(`${`${phase.name} ${name}`.padEnd(labelWidth)}${cells.join('')}`);
    }
  }
  for (const phase of result.phases) lines.push('', ...phaseLines(phase, result.gatewayIdleCpuRatio));
  lines.push('', ...afterLines(result.gatewayAfter));
  lines.push(...result.notes.map((note) => `note: ${note}`));
  lines.push(...result.failures.map((failure) => `FAILED: ${failure}`));
  return lines.join('\n');
}

/**
 * @param {import('./types.d.ts').Phase} phase
 * @param {number | null} idleRatio
 */
function phaseLines(phase, idleRatio) {
  const { gatewayCpuUsPerRequest: cpuUs, gatewayCpuRatio } = phase;
  const mean = (/** @type {number} */ value) => value.toFixed(value < 10 ? 2 : 1);
  const gateway =
    cpuUs === null || gatewayCpuRatio === null
      ? 'gateway CPU not measured'
      : `gateway CPU ${cpuUs.toFixed(0)} us/request (${percent(gatewayCpuRatio)} of a core, ${percent(idleRatio ?? 0)} when idle)`;
  const engines = phase.enginesCpuRatio === null ? '' : `, engines ${percent(phase.enginesCpuRatio)}`;
  const others = phase.othersCpuRatio === null ? '' : `, everybody else ${percent(phase.othersCpuRatio)}`;
  const generatorMs = phase.requests === 0 ? 0 : (phase.generatorCpuRatio * 1000) / phase.requestsPerSecond;
  return [
    `${phase.name}: ${phase.requests} answered in ${phase.durationS.toFixed(1)} s, ${mean(phase.requestsPerSecond)} req/s, ` +
      `${mean(phase.sentMBps)} MB/s up, ${mean(phase.receivedMBps)} MB/s down`,
    `  errors ${phase.errors} (timeouts ${phase.timeouts}), non-2xx ${phase.non2xx}, mismatches ${phase.mismatches}, ` +
      `unanswered ${phase.unanswered}`,
    ...figureLines(phase.figures),
    `  ${gateway}`,
    `  generator ${percent(phase.generatorCpuRatio)} of a core (${generatorMs.toFixed(2)} ms/request)${engines}${others}`,
  ];
}

/** @param {import('./types.d.ts').Phase['figures']} figures */
function figureLines(figures) {
  const texts = Object.entries(figures).map(([name, value]) => `${name} ${Number(value.toFixed(2))}`);
  return texts.length === 0 ? [] : [`  ${texts.join(', ')}`];
}

/** @param {number} ratio */
function percent(ratio) {
  return `${(ratio * 100).toFixed(0)} %`;
}

/** @param {import('./types.d.ts').Result['gatewayAfter']} after */
function afterLines(after) {
  if (after === null) return ['The target is not ours: leases and penstock_bug_total were not checked.'];
  const held = Object.entries(after.leasesOutstanding).map(([kind, count]) => `${kind} ${count}`);
  return [`after: leases outstanding: ${held.join(', ')}; penstock_bug_total ${after.bugTotal}`];
}

/**
 * What this run in particular must be read with.
 * @param {import('./types.d.ts').Phase[]} phases
 */
export function runNotes(phases) {
  const disturbed = phases
    .filter(({ disturbedSliceCount }) => disturbedSliceCount > 0)
    .map(
      ({ name, disturbedSliceCount }) =>
        `${name}: others used the machine in ${disturbedSliceCount} slices; the latency of those is compared with nothing.`,
    );
  const busy = phases
    .filter(({ generatorCpuRatio }) => generatorCpuRatio > generatorCpuRatioMax)
    .map(
      ({ name, generatorCpuRatio }) =>
        `${name}: the load generator used ${percent(generatorCpuRatio)} of a core; its own queueing is in these numbers.`,
    );
  return [...disturbed, ...busy];
}
