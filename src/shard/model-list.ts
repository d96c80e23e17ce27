import type { Answer } from '../filters/index.ts';
import type { RouteTable } from '../route/index.ts';
import type { ModelTable } from '../shm/index.ts';

/** Fixed: the gateway does not know when a model was made, and clients only need a number. */
const createdUnixSeconds = 0;

interface ModelFacts {
  readonly id: string;
  /** Of a LoRA adapter. */
  readonly parent?: string;
  readonly max_model_len?: number;
}

function modelObject({ id, ...facts }: ModelFacts): object {
  return { id, object: 'model', created: createdUnixSeconds, owned_by: 'penstock', ...facts };
}

/**
 * `GET /v1/models` and `GET /v1/models/{model}` (OpenAI): the configured models; without any, what the endpoints list. Null when
 * the named model is not configured; `ask` when an endpoint has to be asked, because none was heard of, or not of this one.
 */
export function modelList(path: string, routes: RouteTable, table: ModelTable): Answer | 'ask' | null {
  const models = routes.needsModel ? routes.modelNames.map((id): ModelFacts => ({ id })) : listedModels(table);
  if (models === null) return 'ask';
  const headers = { 'content-type': 'application/json' };
  if (path === '/v1/models') {
    return { status: 200, headers, body: JSON.stringify({ object: 'list', data: models.map(modelObject) }) };
  }
  const name = decoded(path.slice('/v1/models/'.length));
  const model = models.find(({ id }) => id === name);
  if (model === undefined) return routes.needsModel ? null : 'ask';
  return { status: 200, headers, body: JSON.stringify(modelObject(model)) };
}

const parsedPages = new WeakMap<Buffer, readonly ModelFacts[]>();

function listedModels(table: ModelTable): readonly ModelFacts[] | null {
  const page = table.readPage();
  if (page === null) return null;
  let models = parsedPages.get(page);
  if (models === undefined) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Control wrote it.
    models = JSON.parse(page.toString('utf8')) as ModelFacts[];
    parsedPages.set(page, models);
  }
  return models;
}

/** Null when the percent-encoding is no UTF-8. */
function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
