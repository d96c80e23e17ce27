/** Endpoints that report on the engine, or steer it, without generating: health, models, adapters, load, stats, faults. */
import type { SimExchange } from './exchange.ts';
import { parseFaultSet } from './faults.ts';
import { ApiError, reasonOf, stringAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { metricsPage } from './metrics-page.ts';
import { unixSeconds } from './openai.ts';
import { hashText } from './random.ts';
import { statsOf } from './stats.ts';

/** The vLLM release whose behaviour is followed. */
const engineVersion = '0.20.0';

/** GET /health, GET and POST /ping. */
export function health(exchange: SimExchange): void {
  exchange.sendPlain(exchange.context.faults.draw('health_fail', exchange.path) ? 503 : 200, '', {});
}

export function version(exchange: SimExchange): void {
  exchange.sendJson({ version: engineVersion });
}

export function load(exchange: SimExchange): void {
  exchange.sendJson({ server_load: exchange.context.counters.load });
}

export function metrics(exchange: SimExchange): void {
  exchange.sendPlain(200, metricsPage(exchange.context), {
    'content-type': 'text/plain; version=0.0.4; charset=utf-8',
  });
}

export function stats(exchange: SimExchange): void {
  exchange.sendJson(statsOf(exchange.context));
}

/** GET shows the fault set, POST replaces it. */
export function faults(exchange: SimExchange, body: JsonObject): void {
  const { faults: current } = exchange.context;
  if (exchange.request.method === 'POST') {
    try {
      current.replace(parseFaultSet(body));
    } catch (error) {
      throw new ApiError(400, reasonOf(error), 'faults');
    }
  }
  exchange.sendJson(current.set);
}

export function models(exchange: SimExchange): void {
  const { context } = exchange;
  const { settings } = context;
  const root = settings.models[0]!;
  const created = unixSeconds(context);
  const card = (id: string, rootOf: string, parent: string | null): JsonObject => ({
    id,
    object: 'model',
    created,
    owned_by: 'vllm',
    root: rootOf,
    parent,
    max_model_len: parent === null ? settings.maxModelLen : null,
    permission: [permission(id, created)],
  });
  exchange.sendJson({
    object: 'list',
    data: [
      ...settings.models.map((model) => card(model, root, null)),
      ...[...context.adapters].map(([adapter, path]) => card(adapter, path, root)),
    ],
  });
}

function permission(model: string, created: number): JsonObject {
  return {
    id: `modelperm-${hashText(model).toString(16).padStart(8, '0')}`,
    object: 'model_permission',
    created,
    allow_create_engine: false,
    allow_sampling: true,
    allow_logprobs: true,
    allow_search_indices: false,
    allow_view: true,
    allow_fine_tuning: false,
    organization: '*',
    group: null,
    is_blocking: false,
  };
}

/** POST /v1/load_lora_adapter {lora_name, lora_path}. Plain text, as in vLLM. */
export function loadAdapter(exchange: SimExchange, body: JsonObject): void {
  const name = stringAt(body, 'lora_name') ?? '';
  const path = stringAt(body, 'lora_path') ?? '';
  const { adapters } = exchange.context;
  if (name === '' || path === '') throw new ApiError(400, "Both 'lora_name' and 'lora_path' must be provided.");
  if (adapters.has(name) && body['load_inplace'] !== true) {
    throw new ApiError(400, `The lora adapter '${name}' has already been loaded.`);
  }
  adapters.set(name, path);
  exchange.sendPlain(200, `Success: LoRA adapter '${name}' added successfully.`, { 'content-type': 'text/plain' });
}

export function unloadAdapter(exchange: SimExchange, body: JsonObject): void {
  const name = stringAt(body, 'lora_name') ?? '';
  if (!exchange.context.adapters.delete(name)) throw new ApiError(404, `The lora adapter '${name}' cannot be found.`);
  exchange.context.engine.adapters.forget(name);
  exchange.sendPlain(200, `Success: LoRA adapter '${name}' removed successfully.`, { 'content-type': 'text/plain' });
}

export function resetPrefixCache(exchange: SimExchange): void {
  exchange.context.engine.cache.forgetPrefixes();
  exchange.sendPlain(200, '', {});
}
