import { requestIdFrom } from '../core/index.ts';
import type { FieldList } from '../exchange/index.ts';
import { isCleanFieldValue, isCleanQuery, isCleanTarget, isToken } from '../http/index.ts';
import type { Answer, Filter, FilteredExchange } from './filter.ts';

/**
 * A user's filter with what it leaves behind checked, hook by hook: it is handed the record itself, so it could put into a
 * head what no peer may send, and the writers believe heads. What is wrong throws out of the hook and names the filter; the
 * exchange ends with 500 `internal_error`, and nothing of it was written.
 */
export function checkedFilter(filter: Filter, name: string, targetBytesMax: number): Filter {
  const guard = (problem: string | null): void => {
    if (problem !== null) throw new Error(`filter ${name}: ${problem}`);
  };
  /** An async hook would act after its exchange has gone on, or is another; its rejection would end the shard. */
  const resultOf = <Result>(result: Result): Result => {
    if (!(result instanceof Promise)) return result;
    result.catch(() => {});
    throw new Error(`filter ${name}: a hook returned a promise; hooks are synchronous`);
  };
  const requestHook = (hook: (exchange: FilteredExchange) => Answer | void) => {
    return (exchange: FilteredExchange): Answer | void => {
      const { head, requestId } = exchange;
      const { method, path, query, contentLength, isChunked } = head;
      let isSound = false;
      try {
        const answer = resultOf(hook(exchange)) ?? undefined;
        if (head.method !== method || head.contentLength !== contentLength || head.isChunked !== isChunked) {
          guard('may not change the method or the framing of the request');
        }
        guard(requestProblem(exchange, targetBytesMax));
        if (answer !== undefined) guard(answerProblem(answer));
        isSound = true;
        return answer;
      } finally {
        // The error answer and the log line are made of these.
        if (!isSound) {
          Object.assign(head, { method, path, query, contentLength, isChunked });
          exchange.requestId = requestId;
        }
      }
    };
  };
  const checked: Filter = {};
  if (filter.onRequestHead !== undefined) checked.onRequestHead = requestHook(filter.onRequestHead.bind(filter));
  if (filter.onRequestFacts !== undefined) checked.onRequestFacts = requestHook(filter.onRequestFacts.bind(filter));
  if (filter.onResponseHead !== undefined) {
    const hook = filter.onResponseHead.bind(filter);
    checked.onResponseHead = (exchange) => {
      const { status, contentLength } = exchange.responseHead;
      resultOf(hook(exchange));
      const head = exchange.responseHead;
      const isFramingKept = head.contentLength === contentLength && isBodyless(head.status) === isBodyless(status);
      if (!isFramingKept) guard('may not change the framing of the response');
      guard(isFinalStatus(head.status) ? fieldsProblem(head) : `status ${String(head.status)} is not 200 to 599`);
    };
  }
  // Hooks of bytes are not meant to change a head, but before the commit point it would still be sent.
  if (filter.onRequestBody !== undefined) {
    const hook = filter.onRequestBody.bind(filter);
    checked.onRequestBody = (exchange, bytes, start, end) => {
      const { path, query, method } = exchange.head;
      hook(exchange, bytes, start, end);
      if (exchange.head.path !== path || exchange.head.query !== query || exchange.head.method !== method) {
        Object.assign(exchange.head, { path, query, method });
        guard('may not change the target while the body arrives');
      }
      if (!exchange.isCommitted) guard(fieldsProblem(exchange.head));
    };
  }
  if (filter.onResponseChunk !== undefined) {
    const hook = filter.onResponseChunk.bind(filter);
    checked.onResponseChunk = (exchange, bytes, start, end) => {
      hook(exchange, bytes, start, end);
      if (!exchange.isCommitted) guard(fieldsProblem(exchange.responseHead));
    };
  }
  if (filter.onEnd !== undefined) checked.onEnd = filter.onEnd.bind(filter);
  return checked;
}

/** A head that a filter leaves may have as many fields, and as many bytes of them. Twice what any peer may send. */
const fieldCountMax = 256;
const fieldBytesMax = 128 * 1024;

function requestProblem({ head, requestId }: FilteredExchange, targetBytesMax: number): string | null {
  const { path, query } = head;
  if (typeof path !== 'string' || path.includes('?') || !isCleanTarget(path)) return 'the path is malformed';
  if (typeof query !== 'string' || !isCleanQuery(query)) return 'the query is malformed';
  if (path.length + query.length + 1 > targetBytesMax) return 'the target is longer than limits.target_bytes_max';
  if (typeof requestId !== 'string' || requestIdFrom(requestId) === null) return 'the request id is malformed';
  return fieldsProblem(head);
}

function fieldsProblem(fields: FieldList): string | null {
  const { names, values, count, wireCount } = fields;
  if (!(Number.isInteger(count) && count >= 0 && count <= fieldCountMax)) return `more than ${fieldCountMax} fields`;
  if (!(wireCount >= 0 && wireCount <= count)) return 'the list of fields is damaged';
  let bytes = 0;
  for (let index = 0; index < count; index++) {
    const problem = fieldProblem(names[index], values[index]);
    if (problem !== null) return problem;
    if (names[index] !== names[index]!.toLowerCase()) return `field name ${names[index]!} is not in lower case`;
    bytes += names[index]!.length + values[index]!.length + 4;
  }
  return bytes > fieldBytesMax ? `the fields are longer than ${fieldBytesMax} bytes` : null;
}

function fieldProblem(name: unknown, value: unknown): string | null {
  if (typeof name !== 'string' || !isToken(name)) return `field name ${JSON.stringify(name)} is malformed`;
  const isSound = typeof value === 'string' && isCleanFieldValue(value);
  // The value stays out of the message: it may be a secret.
  return isSound ? null : `the value of field ${name} is malformed`;
}

function answerProblem(answer: Answer): string | null {
  if (typeof answer !== 'object' || answer === null) return 'the answer is no object';
  if (!isFinalStatus(answer.status)) return `status ${String(answer.status)} of the answer is not 200 to 599`;
  const { body } = answer;
  if (body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array))
    return 'the body of the answer is neither text nor bytes';
  const entries = Object.entries(answer.headers ?? {});
  if (entries.length > fieldCountMax) return `more than ${fieldCountMax} fields`;
  let bytes = 0;
  for (const [name, value] of entries) {
    const problem = fieldProblem(name, value);
    if (problem !== null) return problem;
    bytes += name.length + value.length + 4;
  }
  return bytes > fieldBytesMax ? `the fields are longer than ${fieldBytesMax} bytes` : null;
}

function isFinalStatus(status: unknown): boolean {
  return Number.isInteger(status) && Number(status) >= 200 && Number(status) <= 599;
}

function isBodyless(status: number): boolean {
  return status === 204 || status === 304;
}
