/**
 * Publishes what happens in the engine's KV cache, as vLLM's `distributed/kv_events.py` does: one batch a step on a PUB socket, numbered
 * from 0, and the last ones again on a ROUTER socket for whoever missed some.
 */
import type { SimSettings } from './options.ts';
import { encodeMsgpack, msgpackArray, msgpackFloat } from './msgpack.ts';
import type { MsgpackValue } from './msgpack.ts';
import { ZmqServer } from './zmq-server.ts';

/** What a cache tells as it changes. Called in the engine's turn. */
export interface KvCacheListener {
  /** Blocks that became findable, in order; `parent` is the key before the first, 0 for none. */
  onStored(keys: readonly number[], parent: number, tokens: ArrayLike<number>): void;
  /** A block that was findable is another's now. */
  onRemoved(key: number): void;
  onCleared(): void;
}

export interface KvEventsSettings {
  readonly host: string;
  readonly port: number;
  /** Null: nobody is answered for what was missed. */
  readonly replayPort: number | null;
  readonly topic: string;
  readonly blockSize: number;
  /** Batches kept for replays; vLLM's `buffer_steps`. */
  readonly keptBatches: number;
  /** `array` as vLLM wrote them first, and SGLang does; `map` as it does now. */
  readonly form: 'array' | 'map';
  readonly unixMs: () => number;
}

/** vLLM's END_SEQ: -1 in 8 bytes. */
const endSequence = Buffer.alloc(8, 0xff);
const empty = Buffer.alloc(0);

export class KvEventPublisher implements KvCacheListener {
  readonly #settings: KvEventsSettings;
  readonly #publisher: ZmqServer;
  readonly #replayer: ZmqServer | null;
  readonly #topic: Buffer;
  #events: Buffer[] = [];
  #next = 0n;
  readonly #kept: (readonly [sequence: bigint, payload: Buffer])[] = [];
  port = 0;
  replayPort = 0;

  constructor(settings: KvEventsSettings) {
    const { host, port, replayPort } = settings;
    this.#settings = settings;
    this.#topic = Buffer.from(settings.topic, 'utf8');
    this.#publisher = new ZmqServer({ host, port, socketType: 'PUB' });
    this.#replayer =
      replayPort === null
        ? null
        : new ZmqServer({
            host,
            port: replayPort,
            socketType: 'ROUTER',
            onQuestion: (frames, reply) => this.#replay(frames, reply),
          });
  }

  /** Rejects with the listen error. */
  async listen(): Promise<void> {
    this.port = await this.#publisher.listen();
    if (this.#replayer !== null) this.replayPort = await this.#replayer.listen();
  }

  get subscriberCount(): number {
    return this.#publisher.subscriberCount;
  }

  async close(): Promise<void> {
    await Promise.all([this.#publisher.close(), this.#replayer?.close()]);
  }

  onStored(keys: readonly number[], parent: number, tokens: ArrayLike<number>): void {
    const hashes = keys.map((key) => BigInt(key));
    const parentHash = parent === 0 ? null : BigInt(parent);
    const { blockSize } = this.#settings;
    this.#add('BlockStored', [
      ['block_hashes', hashes],
      ['parent_block_hash', parentHash],
      ['token_ids', Array.from(tokens)],
      ['block_size', blockSize],
      ['lora_id', null],
      ['medium', 'GPU'],
      ['lora_name', null],
    ]);
  }

  onRemoved(key: number): void {
    this.#add('BlockRemoved', [
      ['block_hashes', [BigInt(key)]],
      ['medium', 'GPU'],
    ]);
  }

  onCleared(): void {
    this.#add('AllBlocksCleared', []);
    this.flush();
  }

  /** The step is over: what happened in it is published. */
  flush(): void {
    if (this.#events.length === 0) return;
    const events = msgpackArray(this.#events);
    this.#events = [];
    const timestamp = msgpackFloat(this.#settings.unixMs() / 1000);
    const payload =
      this.#settings.form === 'array'
        ? msgpackArray([timestamp, events, encodeMsgpack(0)])
        : Buffer.concat([
            Buffer.of(0x83),
            encodeMsgpack('ts'),
            timestamp,
            encodeMsgpack('events'),
            events,
            encodeMsgpack('data_parallel_rank'),
            encodeMsgpack(0),
          ]);
    const sequence = this.#next++;
    this.#kept.push([sequence, payload]);
    if (this.#kept.length > this.#settings.keptBatches) this.#kept.shift();
    this.#publisher.publish([this.#topic, sequenceBytes(sequence), payload]);
  }

  #add(tag: string, fields: readonly (readonly [name: string, value: MsgpackValue])[]): void {
    this.#events.push(
      encodeMsgpack(
        this.#settings.form === 'array'
          ? [tag, ...fields.map(([, value]) => value)]
          : { type: tag, ...Object.fromEntries(fields) },
      ),
    );
  }

  #replay(frames: readonly Buffer[], reply: (frames: readonly Uint8Array[]) => void): void {
    const [delimiter, first] = frames;
    if (frames.length !== 2 || delimiter!.length !== 0 || first!.length !== 8) return;
    const from = first!.readBigUInt64BE();
    for (const [sequence, payload] of this.#kept) {
      if (sequence >= from) reply([empty, sequenceBytes(sequence), payload]);
    }
    reply([empty, endSequence, empty]);
  }
}

/** Null when the settings name no address. Rejects with RangeError for a bad one, or with the listen error. */
export async function startKvEvents(settings: SimSettings): Promise<KvEventPublisher | null> {
  const { kvEvents, kvEventsReplay, kvEventsTopic, kvEventsForm, kvEventsKept, blockSize, unixMs } = settings;
  if (kvEvents === null) return null;
  const { host, port } = addressOf(kvEvents);
  const publisher = new KvEventPublisher({
    host,
    port,
    replayPort: kvEventsReplay === null ? null : addressOf(kvEventsReplay).port,
    topic: kvEventsTopic,
    blockSize,
    keptBatches: kvEventsKept,
    form: kvEventsForm,
    unixMs,
  });
  await publisher.listen();
  return publisher;
}

/** `*` binds all addresses, as in vLLM. */
function addressOf(url: string): { readonly host: string; readonly port: number } {
  const [, host, port] = /^tcp:\/\/(.+):(\d{1,5})$/.exec(url) ?? [];
  if (host === undefined || Number(port) > 65_535) throw new RangeError(`${url} must be tcp://host:port`);
  return { host: host === '*' ? '0.0.0.0' : host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

function sequenceBytes(sequence: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(sequence);
  return bytes;
}
