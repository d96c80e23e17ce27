/** `sharing`: gateways that tell one another what endpoints' caches hold, through a Valkey or Redis. docs/sharing.md */
import { isIP } from 'node:net';
import { isHostName } from './address.ts';
import { optional, parsed, section } from './field.ts';
import type { Reading } from './reading.ts';
import { filePath, hostName, name, passphrase } from './text-field.ts';

/** What the URL of a store says. */
export interface StoreAddress {
  readonly tls: boolean;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly database: number;
  readonly username: string | null;
  readonly password: string | null;
}

const schemes: Readonly<Record<string, boolean>> = {
  'redis:': false,
  'rediss:': true,
  'valkey:': false,
  'valkeys:': true,
};

/** `redis[s]://[[username]:password@]host[:port][/database]`, as registered with IANA. Complaints never repeat it: it may hold a password. */
export function readStoreUrl(text: string): Reading<StoreAddress> {
  const complaint = 'must be a URL such as redis://10.0.0.1:6379 or rediss://user:password@host/0';
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !Object.hasOwn(schemes, url.protocol) || /\s/.test(text)) return { complaint };
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (!isHostName(host) && isIP(host) === 0) return { complaint };
  if (url.search !== '' || url.hash !== '') return { complaint: 'must not have a query or a fragment' };
  const [, database = '0'] = /^\/?(\d{0,5})$/.exec(url.pathname) ?? [null, null];
  if (database === null) return { complaint: 'its path must be the number of a database' };
  if (url.port === '0') return { complaint: 'port must be 1 to 65535' };
  try {
    return {
      value: {
        tls: schemes[url.protocol]!,
        host,
        port: url.port === '' ? 6379 : Number(url.port),
        database: Number(database),
        username: url.username === '' ? null : decodeURIComponent(url.username),
        password: url.password === '' ? null : decodeURIComponent(url.password),
      },
    };
  } catch {
    return { complaint: 'has a user or password that is not percent-encoded' };
  }
}

export const sharing = section(
  {
    url: optional(
      parsed(readStoreUrl, 'URL', {
        doc: 'The Valkey, or Redis from 6.2 on: `redis://` or `rediss://`, user and password, host, port (6379), number of the database. Without it nothing is shared. `/config` never shows the password.',
      }),
    ),
    password: optional(passphrase({ doc: 'In place of one in the URL.' })),
    namespace: name({
      default: 'penstock',
      doc: 'Gateways of the same share; part of the names of all keys.',
    }),
    tls: section(
      {
        ca_path: optional(
          filePath({
            doc: 'PEM file of the authorities to trust in place of the built-in ones; relative to the file.',
          }),
        ),
        server_name: optional(hostName({ doc: 'Name to ask for and to check, in place of the host of the URL.' })),
      },
      { default: {}, doc: 'For `rediss://`. Certificates are always checked.' },
    ),
  },
  {
    default: {},
    reload: 'restart',
    doc: 'Several gateways before the same endpoints route as one: each learns what the others sent where. No request waits for the store, and none fails without it.',
  },
);
