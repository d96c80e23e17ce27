import type { Answer } from '../filters/index.ts';

/** Fixed: the gateway does not know when a model was made, and clients only need a number. */
const createdUnixSeconds = 0;

function modelObject(id: string): object {
  return { id, object: 'model', created: createdUnixSeconds, owned_by: 'penstock' };
}

/** `GET /v1/models` and `GET /v1/models/{model}` (OpenAI). Null when the named model is not configured. */
export function modelList(path: string, names: readonly string[]): Answer | null {
  const headers = { 'content-type': 'application/json' };
  if (path === '/v1/models') {
    return { status: 200, headers, body: JSON.stringify({ object: 'list', data: names.map(modelObject) }) };
  }
  const name = decoded(path.slice('/v1/models/'.length));
  return name !== null && names.includes(name)
    ? { status: 200, headers, body: JSON.stringify(modelObject(name)) }
    : null;
}

/** Null when the percent-encoding is no UTF-8. */
function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
