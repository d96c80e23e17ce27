import { simHelp } from '../sim/index.ts';

/** Help texts. One screen each, aligned, with every option and its default. */
export const generalHelp = `Penstock, an inference ingress: moves OpenAI-compatible traffic from clients to a fleet of model servers.

Usage: penstock <command> [options]

Commands:
  run -c FILE      run the gateway in the foreground
  check -c FILE    validate a config file
  demo             run a gateway in front of three simulated engines
  sim              run one simulated engine
  schema           print the JSON Schema of the config file
  top              live view of a running gateway

Options:
  --version        print the version
  --help           print this; after a command, the help of that command
`;

export const commandHelp: Readonly<Record<string, string>> = {
  run: `Runs the gateway in the foreground, under a supervisor that restarts it when it dies.

Usage: penstock run -c FILE

Options:
  -c, --config FILE    config file (YAML); docs/config.md describes it
      --help           print this

Environment:
  LOG_LEVEL            trace, debug, info, warn, error, fatal or silent; wins over logging.level
  PENSTOCK_UWS         folder or file of a uWebSockets.js to use in place of the bundled build

Signals:
  SIGTERM, SIGINT      drain: stop accepting, finish what is in flight up to drain_ms, exit; a second one exits at once
  SIGHUP               reload the config file; a bad file changes nothing

Exit code: 0 after a drain, 1 bad config, 2 cannot bind or start.
`,
  check: `Validates a config file without starting anything.

Usage: penstock check -c FILE

Options:
  -c, --config FILE    config file (YAML)
      --help           print this

Prints "ok", or one line a problem: FILE:LINE:COL: path.to.key: what is wrong.
Exit code: 0 when the file is valid, else 1.
`,
  demo: `Runs a gateway in front of three simulated engines, all on this machine. Needs no network and no GPU.

Usage: penstock demo [options]

Options:
  --port N             data port of the gateway (default 8080; 0 takes any free one)
  --admin-port N       admin port (default 9901; 0 takes any free one)
  --shards N           accept threads (default auto, one for each CPU)
  --speed X            of the engines: 1 is real time, 10 ten times faster, 0 answers at once (default 1)
  --help               print this

Exit code: 0 after a drain, 2 when a port is taken or something cannot start.
`,
  sim: simHelp,

  schema: `Prints the JSON Schema of the config file, or its reference page.

Usage: penstock schema [options]

Options:
  --format FORMAT      json or markdown (default json)
  --help               print this
`,
  top: `Shows shards, endpoints and percentiles of a running gateway, redrawn every second. q quits.

Usage: penstock top [options]

Options:
  --admin URL          admin port (default http://127.0.0.1:9901)
  --token TOKEN        admin token, when the gateway has one (default: PENSTOCK_ADMIN_TOKEN of the environment)
  --once               print one frame and exit
  --help               print this

Exit code: 0; 2 when the admin port cannot be reached.
`,
};
