/** Request bodies: chats of an exact size, made of words so that they cost an engine what prose costs. */

/** Two-, three- and four-byte characters among them: a body cut at the wrong byte must not go unnoticed. */
const words =
  'pump valve gauge tide crane turbine gate pipe water pressure river basin spring café 潮汐 lamp 🌊 rope'.split(' ');

/**
 * The same bytes for the same arguments; a longer text starts with the shorter one of the same seed.
 * @param {number} bytes
 * @param {number} seed
 */
export function proseOf(bytes, seed) {
  const text = Buffer.alloc(bytes, ' ');
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  let at = 0;
  for (;;) {
    // Numerical Recipes' generator; the high bits are the better ones.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const word = words[Math.floor((state / 4_294_967_296) * words.length)] ?? '';
    const wordBytes = Buffer.byteLength(word);
    // The rest stays blank, so that no character is cut.
    if (at + wordBytes + 1 > bytes) return text.toString();
    at += text.write(word, at) + 1;
  }
}

/**
 * A chat completion of about `bytes` bytes, answered with `tokens` tokens by a simulated engine.
 * @param {{ model: string, bytes: number, seed: number, tokens: number, isStream?: boolean, isModelLast?: boolean,
 *   question?: string }} wish
 * @returns {import('./types.d.ts').LoadRequest}
 */
export function chatRequest({ model, bytes, seed, tokens, isStream = false, isModelLast = false, question }) {
  const wanted = question ?? `Question ${seed}: what does the gauge show?`;
  const rest = {
    max_tokens: tokens,
    ...(isStream ? { stream: true, stream_options: { include_usage: true } } : {}),
    messages: [
      { role: 'system', content: '' },
      { role: 'user', content: wanted },
    ],
  };
  const body = isModelLast ? { ...rest, model } : { model, ...rest };
  const frameBytes = Buffer.byteLength(JSON.stringify(body));
  /** @type {{ content: string }} */ (rest.messages[0]).content = proseOf(Math.max(0, bytes - frameBytes), seed);
  return {
    path: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', 'x-sim-echo-hash': '1', 'x-sim-tokens': String(tokens) },
    body: Buffer.from(JSON.stringify(body)),
    isStream,
  };
}
