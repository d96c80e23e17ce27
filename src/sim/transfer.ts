/**
 * Prompts handed from one engine to another, as vLLM's NIXL connector and SGLang's disaggregation modes do it. What RDMA is to
 * them is a request of one simulator to the other here: `POST /sim/transfers` (vLLM) and `POST /sim/rooms` (SGLang), at the host
 * and port that the protocol names.
 *
 *   vllm     prefill: keeps the blocks of a prompt for 30 s, says where in `kv_transfer_params`
 *            decode: fetches them from there before anything else; fails a request whose blocks are not there
 *   sglang   prefill: answers when its room has been fetched, however long that takes
 *            decode: waits for its room, however long that takes
 */
import { request as httpRequest } from 'node:http';
import type { SimContext } from './context.ts';
import { sendException } from './exchange.ts';
import type { SimExchange } from './exchange.ts';
import type { Generation } from './generation.ts';
import { ApiError, numberAt, objectAt, stringAt } from './json.ts';
import type { JsonObject } from './json.ts';

interface Kept {
  readonly blocks: number[];
  readonly tokens: number;
  disarm(): void;
}

interface Room {
  /** Answers the prefill request; set once the prompt is computed. */
  onTaken: (() => void) | null;
  /** Answers the engine that waits for the prompt. */
  onReady: (() => void) | null;
}

/** What a request says of its other half. */
export interface TransferWish {
  /** vLLM: blocks are to be kept. */
  readonly keeps: boolean;
  /** Where the prompt is to be had; null: nowhere. */
  readonly source: { readonly url: string; readonly body: JsonObject } | null;
  /** SGLang: the room this engine computes the prompt for; '' for none. Digits: a double cannot hold them. */
  readonly room: string;
}

export const noTransfer: TransferWish = { keeps: false, source: null, room: '' };

export interface TransferCounts {
  kept: number;
  fetched: number;
  expired: number;
  refused: number;
}

export class Transfers {
  readonly counts: TransferCounts = { kept: 0, fetched: 0, expired: 0, refused: 0 };
  readonly #context: Pick<SimContext, 'settings' | 'engine' | 'ids'>;
  readonly #kept = new Map<string, Kept>();
  readonly #rooms = new Map<string, Room>();
  /** Known once it listens. */
  port = 0;

  constructor(context: Pick<SimContext, 'settings' | 'engine' | 'ids'>) {
    this.#context = context;
  }

  /** Prompts that wait for an engine to fetch them, and engines that wait for a prompt. */
  get openCount(): number {
    return this.#kept.size + this.#rooms.size;
  }

  /** Throws ApiError for a request this engine cannot take in its role. */
  wishOf(exchange: SimExchange, body: JsonObject): TransferWish {
    const { transfer, role } = this.#context.settings;
    if (transfer === 'vllm') return this.#vllmWish(body);
    if (transfer === 'none' || role === 'both') return noTransfer;
    const room = /"bootstrap_room"\s*:\s*(\d+)/.exec(exchange.body.toString('latin1'))?.[1];
    const host = stringAt(body, 'bootstrap_host');
    const port = numberAt(body, 'bootstrap_port');
    if (room === undefined || host === undefined || port === undefined) {
      throw new ApiError(400, 'Disaggregated request received without bootstrap room id.', 'bootstrap_room');
    }
    if (role === 'prefill') return { keeps: false, source: null, room };
    return { keeps: false, source: { url: `http://${host}:${port}/sim/rooms`, body: { room } }, room: '' };
  }

  #vllmWish(body: JsonObject): TransferWish {
    const params = objectAt(body, 'kv_transfer_params');
    if (params === undefined) return noTransfer;
    if (params['do_remote_prefill'] !== true) return { ...noTransfer, keeps: params['do_remote_decode'] === true };
    const host = stringAt(params, 'remote_host');
    const port = numberAt(params, 'remote_port');
    const wanted = { engine: stringAt(params, 'remote_engine_id'), request: stringAt(params, 'remote_request_id') };
    return { keeps: false, source: { url: `http://${host}:${port}/sim/transfers`, body: wanted }, room: '' };
  }

  /** Calls `run` when the prompt is here, which is at once for a request whose prompt is computed here. */
  prepare(exchange: SimExchange, wish: TransferWish, run: () => void): void {
    if (wish.source === null) {
      run();
      return;
    }
    const { url, body } = wish.source;
    const fail = (): void => {
      this.counts.refused++;
      sendException(exchange, new ApiError(500, 'KV load failed: the blocks of the prompt are not there.'));
    };
    const fetch = httpRequest(url, { method: 'POST', agent: false }, (response) => {
      response.resume();
      response.on('error', fail);
      if (response.statusCode !== 200) {
        fail();
        return;
      }
      this.counts.fetched++;
      try {
        run();
      } catch (error) {
        sendException(exchange, error);
      }
    });
    fetch.on('error', () => {
      if (!exchange.isGone) fail();
    });
    exchange.onGone = () => fetch.destroy();
    fetch.end(JSON.stringify(body));
  }

  /** What came from elsewhere is in the cache as if it had been computed here. */
  load(generation: Generation, wish: TransferWish): void {
    if (wish.source === null) return;
    const { engine } = this.#context;
    const { cache } = engine;
    for (const { sequence } of generation.choices) {
      const held: number[] = [];
      const known = cache.match(sequence.blockKeys, sequence.blockKeys.length);
      for (let index = known; index < sequence.blockKeys.length; index++) {
        const block = cache.take();
        if (block < 0) break;
        if (cache.tag(block, sequence.blockKeys[index]!)) engine.tellStored(sequence, index, index + 1);
        held.push(block);
      }
      cache.give(held);
    }
    engine.onScheduled();
  }

  /** `kv_transfer_params` of an answer. An engine keeps nothing of a prompt that ended with its first token. */
  keep(generation: Generation, wish: TransferWish): JsonObject | null {
    const [choice] = generation.choices;
    if (!wish.keeps || choice === undefined || choice.finishReason !== 'length') return null;
    const { settings, engine, ids } = this.#context;
    const { sequence } = choice;
    const blocks: number[] = [];
    engine.cache.takeCached(
      sequence.blockKeys,
      engine.cache.match(sequence.blockKeys, sequence.blockKeys.length),
      blocks,
    );
    const id = ids.hex(16);
    const disarm = settings.timers.arm(() => {
      this.counts.expired++;
      this.#give(id);
    }, settings.transferLeaseMs);
    this.#kept.set(id, { blocks, tokens: sequence.promptTokens, disarm });
    this.counts.kept++;
    return {
      do_remote_prefill: true,
      do_remote_decode: false,
      remote_block_ids: [blocks.slice()],
      remote_engine_id: settings.name,
      remote_request_id: id,
      remote_host: settings.host,
      remote_port: this.port,
      tp_size: 1,
      remote_num_tokens: sequence.promptTokens,
    };
  }

  #give(id: string): Kept | undefined {
    const kept = this.#kept.get(id);
    if (kept === undefined) return undefined;
    this.#kept.delete(id);
    kept.disarm();
    this.#context.engine.cache.give(kept.blocks);
    return kept;
  }

  /** `POST /sim/transfers`: another engine reads what was kept for it, which is free then. */
  readonly fetchKept = (exchange: SimExchange, body: JsonObject): void => {
    const isOurs = stringAt(body, 'engine') === this.#context.settings.name;
    const kept = isOurs ? this.#give(stringAt(body, 'request') ?? '') : undefined;
    if (kept === undefined) throw new ApiError(404, 'No blocks are kept for that request.');
    exchange.sendJson({ tokens: kept.tokens });
  };

  /** SGLang: the prompt of `room` is computed. `onTaken` runs when the other engine has it. */
  offer(exchange: SimExchange, roomId: string, onTaken: () => void): void {
    const room = this.#room(roomId);
    room.onTaken = onTaken;
    exchange.onGone = () => {
      room.onTaken = null;
      if (room.onReady === null) this.#rooms.delete(roomId);
    };
    this.#meet(roomId, room);
  }

  /** `POST /sim/rooms`: another engine waits for the prompt of a room. */
  readonly fetchRoom = (exchange: SimExchange, body: JsonObject): void => {
    const roomId = stringAt(body, 'room') ?? '';
    const room = this.#room(roomId);
    room.onReady = () => exchange.sendJson({});
    exchange.onGone = () => {
      room.onReady = null;
      if (room.onTaken === null) this.#rooms.delete(roomId);
    };
    this.#meet(roomId, room);
  };

  #room(id: string): Room {
    const known = this.#rooms.get(id);
    if (known !== undefined) return known;
    const room: Room = { onTaken: null, onReady: null };
    this.#rooms.set(id, room);
    return room;
  }

  #meet(id: string, { onTaken, onReady }: Room): void {
    if (onTaken === null || onReady === null) return;
    this.#rooms.delete(id);
    onReady();
    onTaken();
  }

  close(): void {
    for (const id of this.#kept.keys()) this.#give(id);
    this.#rooms.clear();
  }
}

/** An SGLang engine that computes prompts says one token, to nobody, when the other engine has the rest. */
export class RoomListener {
  readonly #exchange: SimExchange;
  readonly #room: string;
  readonly #answer: JsonObject;

  constructor(exchange: SimExchange, room: string, answer: JsonObject) {
    this.#exchange = exchange;
    this.#room = room;
    this.#answer = answer;
  }

  onStart(): void {}
  onText(): void {}
  onChoiceEnd(): void {}

  onEnd(): void {
    const exchange = this.#exchange;
    exchange.context.transfers.offer(exchange, this.#room, () => exchange.sendJson(this.#answer));
  }
}
