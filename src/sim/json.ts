/** Reading request bodies: typed looks at parsed JSON, and the errors a wrong one is answered with. */
export type JsonObject = { readonly [key: string]: unknown };

/** An answer with a status other than 200, in the shape vLLM gives its errors. Thrown by handlers, caught by the server. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly param: string | null;

  constructor(status: number, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

/** vLLM's error types by status. */
export const errorTypes: { readonly [status: number]: string } = {
  400: 'BadRequestError',
  404: 'NotFoundError',
  405: 'MethodNotAllowedError',
  422: 'UnprocessableEntityError',
  429: 'RateLimitError',
  500: 'InternalServerError',
  501: 'NotImplementedError',
  503: 'ServiceUnavailableError',
};

/** What an exception says. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Throws ApiError 400 unless `text` is one JSON object. */
export function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ApiError(400, `The body is not JSON: ${reasonOf(error)}`);
  }
  if (!isObject(value)) throw new ApiError(400, 'The body must be a JSON object.');
  return value;
}

/** The number at `key`, or undefined when it is absent or null. Throws ApiError 400 for another type or below `min`. */
export function numberAt(body: JsonObject, key: string, min = -Infinity): number | undefined {
  const value = body[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || value < min)
    throw new ApiError(400, `\`${key}\` must be a number, at least ${min}.`, key);
  return value;
}

export function stringAt(body: JsonObject, key: string): string | undefined {
  const value = body[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw new ApiError(400, `\`${key}\` must be a string.`, key);
  return value;
}

export function objectAt(body: JsonObject, key: string): JsonObject | undefined {
  const value = body[key];
  return isObject(value) ? value : undefined;
}

export function arrayAt(body: JsonObject, key: string): readonly unknown[] | undefined {
  const value = body[key];
  return Array.isArray(value) ? value : undefined;
}
