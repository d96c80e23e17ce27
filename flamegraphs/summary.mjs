/** The profile of every thread in numbers, as Markdown. */

const functionCountMax = 15;
/** Names of C++ templates have no end. */
const nameLengthMax = 100;

/**
 * @param {{ scenario: string, environment: import('../loadtest/types.d.ts').Environment,
 *   recordings: { method: string, recording: import('./record.mjs').Recording, files: string[] }[] }} options `files`: one
 *   a thread, in their order
 */
export function summaryOf({ scenario, environment: env, recordings }) {
  const lines = [
    `# ${scenario}`,
    '',
    `\`${env.command}\` on ${env.cpu}, ${env.cores} cores, Linux ${env.kernel}, Node ${env.node}, commit ${env.commit}.`,
    'Written by the command. Shares are of the time that the thread was busy; busy is of the time under load.',
    'Lines are of the compiled files in `dist/`.',
  ];
  for (const { method, recording, files } of recordings) lines.push('', ...recordingLines(method, recording, files));
  return `${lines.join('\n')}\n`;
}

/**
 * @param {string} method
 * @param {import('./record.mjs').Recording} recording
 * @param {string[]} files
 */
function recordingLines(method, { threads, windowUs, requests }, files) {
  const lines = [
    `## ${method}`,
    '',
    `${requests} requests answered in ${(windowUs / 1e6).toFixed(1)} s.`,
    '',
    '| Thread | Busy | Busy a request | By area, itself |',
    '| --- | ---: | ---: | --- |',
  ];
  for (const [index, { name, root }] of threads.entries()) {
    const areas = root.selfBy(({ area }) => area).slice(0, 8);
    const perRequest = requests === 0 ? '' : `${(root.totalUs / requests).toFixed(1)} us`;
    lines.push(
      `| [${name}](${files[index]}) | ${percent(root.totalUs, windowUs)} | ${perRequest} | ` +
        `${areas.map(([area, us]) => `${area} ${percent(us, root.totalUs)}`).join(', ')} |`,
    );
  }
  for (const { name, root } of threads) {
    if (root.totalUs === 0) continue;
    lines.push('', `### ${name}: most time in the function itself`, '', '| Share | Function |', '| ---: | --- |');
    for (const [functionName, us] of root.selfBy((frame) => frame.name).slice(0, functionCountMax)) {
      lines.push(
        `| ${percent(us, root.totalUs)} | \`${functionName.replace(/[|`]/g, ' ').slice(0, nameLengthMax)}\` |`,
      );
    }
  }
  return lines;
}

/**
 * @param {number} part
 * @param {number} whole
 */
function percent(part, whole) {
  return whole === 0 ? '0 %' : `${((part / whole) * 100).toFixed(1)} %`;
}
