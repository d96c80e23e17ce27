/** Request bodies of an exact size: the same bytes for the same arguments on every machine. */
import { proseOf } from '../loadtest/bodies.mjs';

export const model = 'demo-model';
/** A message of a long chat or of an agent's tool calls, with its frame: 20,000 of them are 3 MB. */
const messageBytes = 157;
/** Different texts before they repeat. */
const textCount = 64;

/**
 * A chat completion request of exactly `bytes` bytes.
 * @param {import('./types.d.ts').BodySpec} spec
 * @returns {Buffer}
 */
export function bodyOf({ bytes, content, modelAt, isStream = false }) {
  const named = `"model":"${model}"`;
  const stream = isStream ? '"stream":true,' : '';
  const [open, close] = modelAt === 'first' ? [`{${named},${stream}`, '}'] : [`{${stream}`, `,${named}}`];
  const room = bytes - open.length - close.length;
  const middle = content === 'messages' ? messagesOf(room) : imageOf(room);
  const body = Buffer.from(open + middle + close);
  if (body.length !== bytes) throw new Error(`a body of ${bytes} bytes came out with ${body.length}`);
  return body;
}

/**
 * Many short messages. Each text has an escaped line break, a pair of escaped quotes and characters of several bytes.
 * @param {number} bytes
 */
function messagesOf(bytes) {
  const head = '"messages":[';
  const messages = [];
  const texts = Array.from({ length: textCount }, (_, seed) => textOf(seed));
  // The last message takes what is left, and a frame has to fit.
  let room = bytes - head.length - 1 - 2 * messageBytes;
  for (let index = 0; room > 0; index++) {
    const message = framed(index, texts[index % textCount] ?? '');
    messages.push(message);
    room -= Buffer.byteLength(message) + 1;
  }
  const used = messages.reduce((sum, message) => sum + Buffer.byteLength(message) + 1, head.length + 1);
  const last = messages.length;
  messages.push(framed(last, 'x'.repeat(bytes - used - framed(last, '').length)));
  return `${head}${messages.join(',')}]`;
}

/**
 * @param {number} index
 * @param {string} text JSON-escaped
 */
function framed(index, text) {
  return `{"role":"${index % 2 === 0 ? 'user' : 'assistant'}","content":"${text}"}`;
}

/** @param {number} seed */
function textOf(seed) {
  const prose = proseOf(messageBytes - framed(0, '').length - 12, seed).trimEnd();
  return `${prose} \\"now\\"\\n`;
}

/**
 * One picture as a data URL.
 * @param {number} bytes
 */
function imageOf(bytes) {
  const open =
    '"messages":[{"role":"user","content":[{"type":"text","text":"What is in this picture?"},' +
    '{"type":"image_url","image_url":{"url":"data:image/png;base64,';
  const close = '"}}]}]';
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const picture = Buffer.alloc(bytes - open.length - close.length);
  let state = 1;
  for (let at = 0; at < picture.length; at++) {
    // Numerical Recipes' generator; the high bits are the better ones.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    picture[at] = alphabet.charCodeAt(state >>> 26);
  }
  return open + picture.toString('latin1') + close;
}
