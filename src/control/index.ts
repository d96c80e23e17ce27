/**
 * control: the main thread, and above it the supervisor process. It owns the config file, the fleet of shards and
 * endpoints, the admin port and the log; it is the only folder that reads environment, files and signals, and beside
 * upstream/ the only one that opens outgoing connections. No request passes through here.
 *
 * Read in this order: supervisor and supervision (two processes, exit codes), gateway (the process: arguments, signals,
 * ready line, exit), control (start, reload, drain), config-watch, shard-set, shard-thread and stall-watch, endpoint-slots
 * (which slot is whose, over reloads), queue-rows (the same for queues), prefix-memories (the same for prefix indexes), kv-events/ (what engines say of their
 * caches), sharing/sharing (what other gateways are told, and tell), free-port, file-limit and memory-watch (what the system leaves room for), observers
 * with health and scrape (what is known of endpoints; engine-names and engine-metrics: what their metrics say), catalogue and listed-models (which models
 * they have), throughput (what they get done), lost-shard; then what is shown: admin-port,
 * admin-client, admin-server, admin-routes, status, process-metrics, dashboard; and log-sink.
 */
export { askAdmin } from './admin-client.ts';
export type { AdminAsk } from './admin-client.ts';
export { keepEnvironmentOutOfReports } from './crash-reports.ts';
export { runGateway } from './gateway.ts';
export type { GatewayOptions } from './gateway.ts';
export type { Status } from './status.ts';
export { ExitCode } from './supervision.ts';
export { Supervisor } from './supervisor.ts';
export type { SupervisorOptions } from './supervisor.ts';
export { packageVersion } from './version.ts';
