/**
 * Node's diagnostic reports hold the whole environment, and with it the secrets of the configuration. Where Node can leave it
 * out (22.13 and later) it does; older ones write no report, whatever their options ask for. `onRefused` is called when one is
 * asked for by its signal, which would end the process if nobody took it.
 */
export function keepEnvironmentOutOfReports(onRefused: () => void): void {
  const { report } = process;
  if ('excludeEnv' in report) {
    report.excludeEnv = true;
    return;
  }
  const isSignalled = report.reportOnSignal;
  report.reportOnFatalError = false;
  report.reportOnUncaughtException = false;
  report.reportOnSignal = false;
  if (isSignalled) process.on(report.signal, onRefused);
}
