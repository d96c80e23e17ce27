import { isIP } from 'node:net';
import type { Config, FileTexts, StoreAddress } from '../../config/index.ts';
import { batchVersion } from './batch.ts';

/**
 * The store that gateways share, as they need it: two streams and one key. Valkey, or Redis from 6.2 on. A link is two
 * connections, since one of them waits in XREAD; when either breaks the link is over, and its owner makes another. Nothing is kept
 * for later: what cannot be sent now fails now.
 */
export interface StoreEntry {
  readonly id: string;
  readonly batch: Buffer;
}

/** Streams. */
export type StreamName = 'blocks' | 'loads';

export interface StoreLink {
  /** The value that all agree on: the one given, where there was none. */
  agreeOn(value: string): Promise<string>;
  append(stream: StreamName, batch: Buffer, countMax: number): Promise<void>;
  /** Id that entries of so many ms ago begin with, by the store's clock. */
  idOfAge(ageMs: number): Promise<string>;
  /** Of the last entry; 0-0 where there is none. */
  lastId(stream: StreamName): Promise<string>;
  /** Entries behind `afterId`, oldest first. */
  range(stream: StreamName, afterId: string, count: number): Promise<StoreEntry[]>;
  /** As `range` of both, but waits up to `waitMs` for the first. */
  read(afterIds: Readonly<Record<StreamName, string>>, count: number, waitMs: number): Promise<StreamEntries>;
  close(): void;
}

export type StreamEntries = Readonly<Record<StreamName, StoreEntry[]>>;

export interface SharedStore {
  /** Rejects when the store cannot be reached. */
  connect(): Promise<StoreLink>;
}

export interface ValkeySettings {
  readonly address: StoreAddress;
  readonly password: string | null;
  readonly namespace: string;
  /** Part of all names. */
  readonly version: number;
  readonly ca: string | null;
  readonly serverName: string | null;
}

/** Null where nothing is to be shared. */
export function storeOf({ url, password, namespace, tls }: Config['sharing'], texts: FileTexts): SharedStore | null {
  if (url === null) return null;
  const ca = tls.caPath === null ? null : texts[tls.caPath]!;
  return new ValkeyStore({ address: url, password, namespace, version: batchVersion, ca, serverName: tls.serverName });
}

const connectTimeoutMs = 2000;
/** Without a byte for so long the connection is dead. One waits in XREAD for less, the other says PING more often. */
const silenceMsMax = 5000;
const pingMs = 1500;
/** Of what goes into logs. */
const complaintLengthMax = 200;

export class ValkeyStore implements SharedStore {
  readonly #settings: ValkeySettings;

  constructor(settings: ValkeySettings) {
    this.#settings = settings;
  }

  async connect(): Promise<StoreLink> {
    // Loaded by gateways that share, and by nobody else.
    const { createClient, ErrorReply, RESP_TYPES } = await import('@redis/client');
    const { address, password, ca, serverName } = this.#settings;
    const secret = password ?? address.password;
    // Texts as bytes: batches are no text.
    const typeMapping = { [RESP_TYPES.BLOB_STRING]: Buffer };
    const open = async (): Promise<Client> => {
      const common = { host: address.host, port: address.port, connectTimeout: connectTimeoutMs };
      const socket = { ...common, reconnectStrategy: false as const, socketTimeout: silenceMsMax };
      // An address is no name to ask for (RFC 6066 section 3); its certificate is checked for it all the same.
      const servername = serverName ?? (isIP(address.host) === 0 ? address.host : '');
      const tls = { tls: true as const, servername, ...(ca === null ? {} : { ca }) };
      const client = createClient({
        socket: address.tls ? { ...socket, ...tls } : socket,
        RESP: 2,
        disableOfflineQueue: true,
        disableClientInfo: true,
        pingInterval: pingMs,
        database: address.database,
        ...(address.username === null ? {} : { username: address.username }),
        ...(secret === null ? {} : { password: secret }),
      });
      /** What was wrong with the connection itself, first. */
      let failure: unknown = null;
      client.on('error', (error: unknown) => {
        if (error instanceof ErrorReply) return; // To a PING: an answer, too.
        failure ??= error;
        // Mostly it is over already. Behind bytes that are no answer it is not, and whoever waits for one would wait for ever.
        process.nextTick(() => client.destroy());
      });
      const complain = (error: unknown): never => {
        throw complaintOf(error instanceof ErrorReply ? error : (failure ?? error), secret);
      };
      await client.connect().catch(complain);
      return {
        ask: (words) => client.sendCommand(words, { typeMapping }).catch(complain),
        destroy: () => client.destroy(),
      };
    };
    const writer = await open();
    try {
      return new ValkeyLink(writer, await open(), this.#settings);
    } catch (error) {
      writer.destroy();
      throw error;
    }
  }
}

/** As short as a log line wants it, and without the password, which stores repeat that do not know AUTH. */
function complaintOf(error: unknown, secret: string | null): Error {
  const [what] = messageOf(error).split(', with args', 1);
  const told = secret === null ? what! : what!.replaceAll(secret, '***');
  return new Error(told.replaceAll(/[^ -~]/g, '?').slice(0, complaintLengthMax));
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Where several addresses were tried there is only a code.
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
}

/** One connection. */
interface Client {
  ask(words: (string | Buffer)[]): Promise<unknown>;
  destroy(): void;
}

class ValkeyLink implements StoreLink {
  readonly #writer: Client;
  readonly #reader: Client;
  readonly #keys: Readonly<Record<StreamName | 'secret', string>>;

  constructor(writer: Client, reader: Client, { namespace, version }: ValkeySettings) {
    this.#writer = writer;
    this.#reader = reader;
    // The braces keep them in one slot, where there are slots.
    const key = (name: string): string => `{${namespace}}:v${version}:${name}`;
    this.#keys = { blocks: key('blocks'), loads: key('loads'), secret: key('secret') };
  }

  async agreeOn(value: string): Promise<string> {
    await this.#writer.ask(['SET', this.#keys.secret, value, 'NX']);
    return String(await this.#writer.ask(['GET', this.#keys.secret]));
  }

  async append(stream: StreamName, batch: Buffer, countMax: number): Promise<void> {
    await this.#writer.ask(['XADD', this.#keys[stream], 'MAXLEN', '~', String(countMax), '*', 'b', batch]);
  }

  async idOfAge(ageMs: number): Promise<string> {
    const now = await this.#writer.ask(['TIME']);
    const [seconds] = Array.isArray(now) ? now.map(Number) : [];
    if (seconds === undefined || !Number.isSafeInteger(seconds)) throw new Error('the store does not tell the time');
    return `${Math.max(0, seconds * 1000 - ageMs)}-0`;
  }

  async lastId(stream: StreamName): Promise<string> {
    const [last] = entriesOf(await this.#writer.ask(['XREVRANGE', this.#keys[stream], '+', '-', 'COUNT', '1']));
    return last?.id ?? '0-0';
  }

  async range(stream: StreamName, afterId: string, count: number): Promise<StoreEntry[]> {
    return entriesOf(
      await this.#writer.ask(['XRANGE', this.#keys[stream], `(${afterId}`, '+', 'COUNT', String(count)]),
    );
  }

  async read(afterIds: Readonly<Record<StreamName, string>>, count: number, waitMs: number): Promise<StreamEntries> {
    const { blocks, loads } = this.#keys;
    const limits = ['COUNT', String(count), 'BLOCK', String(waitMs)];
    const words = ['XREAD', ...limits, 'STREAMS', blocks, loads, afterIds.blocks, afterIds.loads];
    const reply = await this.#reader.ask(words);
    const found: Record<StreamName, StoreEntry[]> = { blocks: [], loads: [] };
    for (const stream of Array.isArray(reply) ? (reply as unknown[]) : []) {
      if (!Array.isArray(stream)) continue;
      found[String(stream[0]) === blocks ? 'blocks' : 'loads'] = entriesOf(stream[1]);
    }
    return found;
  }

  close(): void {
    for (const client of [this.#writer, this.#reader]) {
      try {
        client.destroy();
      } catch {
        // It was over already.
      }
    }
  }
}

/** `[[id, [name, value, ...]], ...]`; what is not of that form is left out, and one without a batch has an empty one. */
function entriesOf(reply: unknown): StoreEntry[] {
  if (!Array.isArray(reply)) return [];
  return reply.flatMap((entry: unknown): StoreEntry[] => {
    if (!Array.isArray(entry)) return [];
    const fields: unknown = entry[1];
    const batch: unknown = Array.isArray(fields) ? fields[1] : null;
    return [{ id: String(entry[0]), batch: Buffer.isBuffer(batch) ? batch : Buffer.alloc(0) }];
  });
}
