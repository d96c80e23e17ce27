/** The configuration file, whole. The order of the rows is the order of docs/config.md. */
import * as z from 'zod';
import { readAddress } from './address.ts';
import {
  bytes,
  choice,
  decimal,
  durationMs,
  field,
  flag,
  integer,
  list,
  optional,
  parsed,
  section,
  wanted,
} from './field.ts';
import { filterChain } from './filter-schema.ts';
import { autoOrInteger, downstreamWriteMs, listenerPriority, modelPriority, overloadShape } from './overload-schema.ts';
import { pool } from './pool-schema.ts';
import { sharing } from './sharing-schema.ts';
import { filePath, name, passphrase, secret, serverName, text } from './text-field.ts';

const certificate = section(
  {
    cert_path: filePath({ doc: 'PEM file of the certificate, then its intermediates; relative to the file.' }),
    key_path: filePath({ doc: 'PEM file of the private key; relative to the file.' }),
    passphrase: optional(passphrase({ doc: 'Of the private key.' })),
    server_names: list(serverName({ doc: '' }), 'host names', {
      default: [],
      max: 256,
      doc: 'Server names (SNI) it answers to, `*.` for any one label in front. Without any, the DNS names in it.',
    }),
  },
  { doc: 'One certificate.' },
);

const listener = section(
  {
    name: name({ doc: 'What logs, metrics and conditions call the listener.' }),
    address: parsed(readAddress, '`host:port`', {
      doc: 'Where it listens; IPv6 in brackets, port 0 for any free one.',
    }),
    tls: optional(
      section(
        {
          certificates: list(certificate, 'certificates', {
            min: 1,
            max: 64,
            reload: 'live',
            doc: 'The one whose server name the client sends is presented; the first where none has it, or none is sent.',
          }),
          client_auth: choice(['none', 'optional', 'required'], {
            default: 'none',
            reload: 'live',
            doc: '`optional` verifies the certificate of a client that presents one. `required` also answers 403 to requests of those that do not.',
          }),
          client_ca_path: optional(
            filePath({
              reload: 'live',
              doc: 'PEM file of the authorities client certificates are verified with; needed for, and only with, `client_auth`.',
            }),
          ),
        },
        { doc: 'Makes it an https listener: TLS 1.2 and 1.3. Certificates are read again by a reload.' },
      ),
    ),
    filter_chains: list(name({ doc: '' }), 'chain names', {
      default: [],
      max: 16,
      reload: 'live',
      doc: 'Run one after another, in this order.',
    }),
    chunked_requests: choice(['accept', 'reject'], {
      default: 'accept',
      reload: 'live',
      doc: '`reject` answers 411 to a request body without a length.',
    }),
    priority: listenerPriority,
    proxy_protocol: flag({
      default: false,
      doc: 'Reads the client address from a PROXY protocol header. Only behind a balancer that always sends one: anyone else could forge it.',
    }),
  },
  { doc: 'One listener.' },
);

export const adminAddressDefault = '127.0.0.1:9901';

export const adminUnsafe = flag({
  default: false,
  doc: 'Lets the admin port listen on another than a loopback address without a token: whoever reaches it can drain the gateway and read its configuration.',
});

const admin = section(
  {
    address: parsed(readAddress, '`host:port`', { default: adminAddressDefault, doc: 'Where the admin port listens.' }),
    token: optional(
      secret({
        doc: 'When given, every admin request but `/live`, `/ready` and the page of the dashboard needs `authorization: Bearer TOKEN`. Needed where `address` is not a loopback one.',
      }),
    ),
    unsafe_without_token: adminUnsafe,
  },
  { default: {}, reload: 'restart', doc: 'The admin port. Loopback unless told otherwise.' },
);

const runtime = section(
  {
    shards: autoOrInteger({ default: 'auto', min: 1, max: 64, doc: 'Accept threads. `auto` is one for each CPU.' }),
    code_from_strings: choice(['reject', 'accept'], {
      default: 'reject',
      doc: 'Whether `eval` and `new Function` work in the threads that handle requests. The gateway needs neither; a filter of your own may (ajv, for one).',
    }),
    watch_config: flag({
      default: false,
      doc: 'Reloads by itself when this file, or a certificate or authority it names, has changed and then stayed as it is for half a second. Links that are swapped (Kubernetes volumes) count.',
    }),
    shard_stall_ms: durationMs({
      default: '10s',
      min: 0,
      max: '10m',
      doc: 'A shard whose event loop stood still for so long is given up: the process ends and its supervisor starts it again. 0 is never.',
    }),
  },
  { default: {}, reload: 'restart', doc: 'Threads.' },
);

const logging = section(
  {
    level: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      default: 'info',
      doc: 'The least level that is written. The environment variable `LOG_LEVEL` wins over it.',
    }),
    pretty: field(
      z
        .union([z.boolean(), z.enum(['auto', 'true', 'false'])], { error: wanted('auto, true or false') })
        .transform((value): 'auto' | boolean => (value === 'auto' ? value : value === true || value === 'true')),
      { default: 'auto', doc: 'Lines for people in place of JSON. `auto` when stdout is a terminal.' },
      { type: '`auto`, true or false' },
    ),
  },
  { default: {}, reload: 'restart', doc: 'The log on stdout.' },
);

export const limitsShape = {
  body_bytes_max: bytes({
    default: '64MiB',
    min: '1KiB',
    max: '4GiB',
    doc: 'Largest request body. A longer one gets 413.',
  }),
  head_bytes_max: bytes({
    default: '16KiB',
    min: '4KiB',
    max: '64KiB',
    reload: 'restart',
    doc: 'Largest request head. A longer one gets 431.',
  }),
  target_bytes_max: bytes({
    default: '8KiB',
    min: 256,
    max: '64KiB',
    doc: 'Longest request target. A longer one gets 414.',
  }),
  header_count_max: integer({
    default: 98,
    min: 1,
    max: 98,
    doc: 'Most header lines in a request. More get 431. The acceptor reads no more than 98.',
  }),
  json_check: choice(['scan', 'full'], {
    default: 'scan',
    doc: '`full` parses a whole JSON body on a worker thread before any of it is sent, where routing depends on its model. It costs the early start of the upload.',
  }),
  buffered_bytes_max: bytes({
    default: '1GiB',
    min: '1KiB',
    max: '1TiB',
    reload: 'restart',
    doc: 'Bytes of bodies held at once, all shards together. Beyond it intake pauses, then answers 503. Not less than `body_bytes_max`.',
  }),
  ...overloadShape,
};

const limits = section(limitsShape, { default: {}, doc: 'What one request, and all together, may take.' });

const timeouts = section(
  {
    connect_ms: durationMs({ default: '2s', min: '1ms', max: '10m', doc: 'To connect to an endpoint, TLS included.' }),
    first_byte_ms: durationMs({ default: '5m', min: '1ms', max: '24h', doc: 'From dispatch to the response head.' }),
    stream_idle_ms: durationMs({ default: '2m', min: '1ms', max: '24h', doc: 'Between two reads of a response body.' }),
    stream_ping_ms: durationMs({
      default: 0,
      min: 0,
      max: '24h',
      doc: 'After this long without a byte an event stream gets a comment (`: ping`; a `ping` event on Anthropic paths), so that what stands between keeps the connection. 0 is never. Once the response head is here.',
    }),
    request_idle_ms: durationMs({
      default: '30s',
      min: '1ms',
      max: '24h',
      doc: 'Between two reads of a request body; then 408. A body that comes, but slowly, is up to `limits.upload_rate_min_bytes`.',
    }),
    downstream_idle_ms: durationMs({
      default: '75s',
      min: '1ms',
      max: '24h',
      doc: 'A kept-alive connection without a request. The bundled acceptor closes it after 10 to 12 s, whatever this says.',
    }),
    downstream_write_ms: downstreamWriteMs,
    total_ms: durationMs({
      default: 0,
      min: 0,
      max: '24h',
      doc: 'From the request head to the end of the exchange; 0 is none.',
    }),
    drain_ms: durationMs({
      default: '10m',
      min: 0,
      max: '24h',
      doc: 'What is in flight when a drain starts may take this long.',
    }),
  },
  { default: {}, doc: 'How long each step may take.' },
);

const accounting = section(
  {
    prompt_tokens: choice(['estimate', 'exact'], {
      default: 'estimate',
      doc: 'How the prompt is counted where the endpoint reports no usage: `estimate` is a quarter of its bytes, `exact` counts with the o200k vocabulary on a worker thread.',
    }),
  },
  { default: {}, doc: 'What is counted, and how.' },
);

export const targetShape = {
  pool: name({ doc: 'The pool.' }),
  model: optional(name({ doc: 'The model name sent upstream. Without it the body is not touched.' })),
  weight: decimal({
    default: 0,
    min: 0,
    max: 1000,
    doc: 'Targets with a weight share the first choice in proportion. The others are spares in the order of the file; when no target has a weight, the first is the first choice.',
  }),
  skus: list(text({ doc: '' }), 'text', {
    default: [],
    max: 64,
    doc: 'Only endpoints of the pool with one of these `sku` serve the model; without any, all do.',
  }),
  quantizations: list(text({ doc: '' }), 'text', {
    default: [],
    max: 64,
    doc: 'Only endpoints of the pool with one of these `quantization` serve the model; without any, all do.',
  }),
};

const model = section(
  {
    name: name({ doc: 'What clients put in `model`; listed by `GET /v1/models`.' }),
    aliases: list(name({ doc: '' }), 'names', { default: [], max: 64, doc: 'Further names for it.' }),
    targets: list(section(targetShape, { doc: 'One target.' }), 'targets', {
      min: 1,
      max: 30, // A bit each in one word of the exchange.
      doc: 'Tried in order: the next when one is saturated, unhealthy, or has failed before anything was relayed.',
    }),
    priority: modelPriority,
  },
  { doc: 'One model.' },
);

export const countMax = { listeners: 16, pools: 64, endpoints: 1024, models: 1024, filterChains: 64 } as const;

export const fileSchema = section(
  {
    listeners: list(listener, 'listeners', {
      min: 1,
      max: countMax.listeners,
      reload: 'restart',
      doc: 'Bound addresses.',
    }),
    admin,
    runtime,
    logging,
    limits,
    timeouts,
    accounting,
    models: list(model, 'models', {
      default: [],
      max: countMax.models,
      doc: 'Model names and where they go. Without any, bodies are not looked at and every request goes to the default pool.',
    }),
    default_pool: optional(
      name({
        doc: 'Where unknown models and bodies without a model go. Without it they get 404 `model_not_found`; with no `models` and one pool only, it is that pool.',
      }),
    ),
    pools: list(pool, 'pools', { min: 1, max: countMax.pools, doc: 'Groups of interchangeable endpoints.' }),
    sharing,
    filter_chains: list(filterChain, 'filter chains', {
      default: [],
      max: countMax.filterChains,
      doc: 'What listeners do to exchanges on their way.',
    }),
  },
  { doc: 'The whole file.', reload: 'live' },
);

/** The program's form of the file: camelCase, sizes in bytes, durations in milliseconds, absent settings null. Plain data, deep-frozen. */
export type Config = z.output<typeof fileSchema>;
export type ListenerConfig = Config['listeners'][number];
export type LimitsConfig = Config['limits'];
export type TimeoutsConfig = Config['timeouts'];
export type ModelConfig = Config['models'][number];
export type TargetConfig = ModelConfig['targets'][number];
export type PoolConfig = Config['pools'][number];
export type EndpointConfig = PoolConfig['endpoints'][number];
export type HealthConfig = NonNullable<PoolConfig['health']>;
export type FilterChainConfig = Config['filterChains'][number];
export type FilterConfig = FilterChainConfig['filters'][number];
export type ConditionConfig = NonNullable<FilterConfig['when']>;
