/**
 * What routing, picking and accounting know of a request: from its path and from a look at its body, never from a parse
 * of the whole document. Fields the body did not have (yet) keep their defaults.
 */
export const Api = {
  /** Any path that is not understood: proxied as plain HTTP. */
  other: 0,
  chatCompletions: 1,
  completions: 2,
  embeddings: 3,
  rerank: 4,
  responses: 5,
  messages: 6,
  models: 7,
  audio: 8,
  images: 9,
  realtime: 10,
  score: 11,
} as const;
export type Api = (typeof Api)[keyof typeof Api];

export class RequestFacts {
  api: Api = Api.other;
  /** True for requests whose repetition only costs time: inference without stored state. */
  isRepeatable = false;
  model: string | null = null;
  /** Byte positions of the model's JSON string token in the body, quotes included; -1 when there is none. */
  modelStart = -1;
  modelEnd = -1;
  isStream = false;
  includesUsage = false;
  /** Largest number of tokens the client will take, or -1. */
  completionTokensMax = -1;
  user: string | null = null;
  promptCacheKey: string | null = null;
  /** True once the whole body was seen, so absent fields are known to be absent. */
  isComplete = false;

  recycle(): void {
    this.api = Api.other;
    this.isRepeatable = false;
    this.model = null;
    this.modelStart = -1;
    this.modelEnd = -1;
    this.isStream = false;
    this.includesUsage = false;
    this.completionTokensMax = -1;
    this.user = null;
    this.promptCacheKey = null;
    this.isComplete = false;
  }
}
