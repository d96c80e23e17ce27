/**
 * Whether an answer is right. A load test that counts wrong answers as fast ones measures nothing.
 *
 * A simulated engine gives the same prompt the same answer, and tells the hash of the body it got. So each distinct
 * request is sent once before the run, to an engine without the gateway in between where there is an own backend; every
 * answer of the run must then be the same. Of other engines only status and shape are checked.
 */
import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';

const referenceTimeoutMs = 60_000;

/**
 * Asks `origin` once. Throws when the answer is not a complete completion.
 * @param {string} origin
 * @param {import('./types.d.ts').LoadRequest} request
 * @returns {Promise<import('./types.d.ts').Reference>}
 */
export async function askReference(origin, { path, headers, body, isStream }) {
  const response = await fetch(origin + path, {
    method: 'POST',
    headers,
    body: new Uint8Array(body),
    signal: AbortSignal.timeout(referenceTimeoutMs),
  });
  const text = await response.text();
  assert.equal(response.status, 200, `${origin}${path} answers ${response.status}: ${text.slice(0, 200)}`);
  const content = isStream ? contentOfStream(text) : contentOfJson(text);
  const isSim = response.headers.has('x-sim-endpoint');
  return { content: isSim ? content : null, bodySha256: response.headers.get('x-sim-body-sha256') };
}

/**
 * The hash an own engine must report, since the gateway is told to change nothing.
 * @param {import('./types.d.ts').LoadRequest} request
 */
export function bodySha256(request) {
  return createHash('sha256').update(request.body).digest('hex');
}

/**
 * Null when the head of an answer with status 200 is right.
 * @param {import('./types.d.ts').CheckedRequest} request
 * @param {(name: string) => string | undefined} header
 */
export function headWrongOf({ reference }, header) {
  const hash = header('x-sim-body-sha256');
  if (reference.bodySha256 === null || hash === reference.bodySha256) return null;
  return `the engine got another body: sha256 ${hash ?? 'missing'}, not ${reference.bodySha256}`;
}

/**
 * @param {import('./types.d.ts').Reference} reference
 * @param {string} content
 */
export function contentWrongOf(reference, content) {
  if (reference.content === null || content === reference.content) return null;
  return `another answer: ${JSON.stringify(content.slice(0, 80))}, not ${JSON.stringify(reference.content.slice(0, 80))}`;
}

/**
 * Null when the answer is right, else what is wrong. `text` as autocannon has it: decoded piece by piece, so that a
 * character split between two reads is lost. Only ASCII is compared here; the open-loop client compares every character.
 * @param {import('./types.d.ts').CheckedRequest} request
 * @param {number} status
 * @param {(name: string) => string | undefined} header
 * @param {string} text
 */
export function wrongOf(request, status, header, text) {
  if (status !== 200) return `status ${status}: ${text.slice(0, 200)}`;
  const headWrong = headWrongOf(request, header);
  if (headWrong !== null) return headWrong;
  const { isStream, reference } = request;
  try {
    const content = isStream ? contentOfStream(text) : contentOfJson(text);
    const wanted = reference.content === null ? null : asciiOf(reference.content);
    return contentWrongOf({ ...reference, content: wanted }, asciiOf(content));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** @param {string} text */
function asciiOf(text) {
  return text.replace(/[^\x20-\x7e]+/g, '');
}

/** The text of an answer that is not a stream; throws when it is no completion. @param {string} text */
export function contentOfJson(text) {
  const content = JSON.parse(text).choices?.[0]?.message?.content;
  if (typeof content !== 'string') throw new Error(`no completion: ${text.slice(0, 200)}`);
  return content;
}

/** @param {string} text */
function contentOfStream(text) {
  const events = text.split('\n\n');
  if (events.pop() !== '' || events.pop() !== 'data: [DONE]') throw new Error(`no [DONE]: ${text.slice(-200)}`);
  return events.map((event) => partsOfEvent(event).text).join('');
}

/**
 * What one event of a chat stream carries: text, and how many tokens the answer had when it says so. Throws when it is not
 * such an event.
 * @param {string} event without the blank line that ends it
 * @returns {{ text: string, tokens: number | undefined }}
 */
export function partsOfEvent(event) {
  if (!event.startsWith('data: ')) throw new Error(`not an event: ${event.slice(0, 200)}`);
  const value = JSON.parse(event.slice(6));
  if (value.error !== undefined) throw new Error(`error event: ${event.slice(0, 200)}`);
  return { text: value.choices?.[0]?.delta?.content ?? '', tokens: value.usage?.completion_tokens };
}
