import { Api } from '../exchange/index.ts';
import { looseReading } from '../http/index.ts';

/** What a path asks for. */
interface ApiPath {
  readonly api: Api;
  /** The body is a JSON object with a `model` (POST only). */
  readonly hasModel: boolean;
  /** Repeating the request only costs time: nothing is stored, no tool runs. */
  readonly isRepeatable: boolean;
}

function inference(api: Api): ApiPath {
  return { api, hasModel: true, isRepeatable: true };
}

/** Paths under /v1/ that are understood; vLLM and SGLang serve some without the prefix too. */
const paths: ReadonlyMap<string, ApiPath> = new Map<string, ApiPath>([
  ['/v1/chat/completions', inference(Api.chatCompletions)],
  ['/v1/completions', inference(Api.completions)],
  ['/v1/embeddings', inference(Api.embeddings)],
  ['/v1/rerank', inference(Api.rerank)],
  ['/v2/rerank', inference(Api.rerank)],
  ['/rerank', inference(Api.rerank)],
  ['/v1/score', inference(Api.score)],
  ['/score', inference(Api.score)],
  ['/v1/messages', inference(Api.messages)],
  ['/v1/messages/count_tokens', inference(Api.messages)],
  // Responses may be stored and may run tools at the upstream, so they are never sent twice.
  ['/v1/responses', { api: Api.responses, hasModel: true, isRepeatable: false }],
  ['/v1/audio/speech', inference(Api.audio)],
  ['/v1/audio/transcriptions', inference(Api.audio)],
  ['/v1/audio/translations', inference(Api.audio)],
  ['/v1/images/generations', inference(Api.images)],
  ['/v1/images/edits', inference(Api.images)],
]);

const other: ApiPath = { api: Api.other, hasModel: false, isRepeatable: false };
const models: ApiPath = { api: Api.models, hasModel: false, isRepeatable: true };

export function classifyPath(path: string, method: string): ApiPath {
  if (method === 'POST') return paths.get(path) ?? other;
  if ((method === 'GET' || method === 'HEAD') && (path === '/v1/models' || path.startsWith('/v1/models/')))
    return models;
  return other;
}

/**
 * Whether a path that is taken for plain HTTP could be read as an API by a more lenient server (`/v1//chat/completions`,
 * `/v1/chat%2Fcompletions`, `/V1/...`): it would serve what the gateway has not looked at.
 */
export function isDisguised(path: string, method: string): boolean {
  if (classifyPath(path, method).api !== Api.other) return false;
  return classifyPath(looseReading(path).toLowerCase(), method).api !== Api.other;
}
