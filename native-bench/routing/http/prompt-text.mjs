/**
 * A Spec as the messages of a chat, so that the engine's tokens are what the Spec says, one by one: block names become words of
 * a token and four bytes each, and what the chat template puts around a message takes the place of the words it covers. Equal
 * names at equal places are equal text, so prompts share as many blocks as their Specs do.
 */
import { mixPair } from '../../../dist/pick/index.js';
import { tokenize } from '../../../dist/sim/index.js';
import { blockName } from '../request.mjs';

const blockTokens = 16;
const tokenBytes = 4;
const consonants = 'bcdfghjklmnpqrstvwxz';
const vowels = 'aeiou';

/** The template of src/sim/prompt.ts: one token begins a prompt, one ends a message. */
const beginTokens = 1;
const endTokens = 1;
/** Before the text of a message, and at the end of a prompt for the answer. */
const headerTokens = {
  system: 2 + tokenize('system').length,
  user: 2 + tokenize('user').length,
  assistant: 2 + tokenize('assistant').length,
};
/** A prompt ends with its last message's end and the header of the answer. */
const closingTokens = endTokens + headerTokens.assistant;

/** @typedef {{ role: 'system' | 'user' | 'assistant', content: string }} Message */

/** @type {Map<number, string>} */
const texts = new Map();
/** Cleared when it grows beyond this: 16 MB. */
const textCountMax = 1 << 17;

/**
 * First turn: the system prompt, and all else as one question.
 * @param {import('../request.mjs').Spec} spec
 * @param {number} systemTokens
 * @returns {Message[]}
 */
export function openingMessages(spec, systemTokens) {
  return [
    { role: 'system', content: textOf(spec, beginTokens + headerTokens.system, systemTokens - endTokens) },
    userMessage(spec, systemTokens),
  ];
}

/**
 * A later turn: the conversation, what was answered, and a new question.
 * @param {readonly Message[]} messages of the turn before
 * @param {string} answer as it came: its tokens stand behind those of the turn before
 * @param {import('../request.mjs').Spec} before
 * @param {import('../request.mjs').Spec} spec
 * @returns {Message[]}
 */
export function nextMessages(messages, answer, before, spec) {
  const answerEnd = before.promptTokens + before.outputTokens + endTokens;
  return [...messages, { role: 'assistant', content: answer }, userMessage(spec, answerEnd)];
}

/** @param {import('../request.mjs').Spec} spec @param {number} from @returns {Message} */
function userMessage(spec, from) {
  return { role: 'user', content: textOf(spec, from + headerTokens.user, spec.promptTokens - closingTokens) };
}

/**
 * The words of tokens [from, to).
 * @param {import('../request.mjs').Spec} spec
 * @param {number} from
 * @param {number} to
 */
function textOf(spec, from, to) {
  if (to <= from) throw new Error(`a message of the Spec has no room for a word: ${from} to ${to}`);
  const first = Math.floor(from / blockTokens);
  const last = Math.ceil(to / blockTokens);
  let text = '';
  for (let block = first; block < last; block++) text += textOfBlock(blockName(spec, block));
  return text.slice((from - first * blockTokens) * tokenBytes, (to - first * blockTokens) * tokenBytes);
}

/** Sixteen words with a space before each. 176 bits of choice, of which the name's 32 are used. @param {number} name */
function textOfBlock(name) {
  let text = texts.get(name);
  if (text !== undefined) return text;
  text = '';
  for (let index = 0; index < blockTokens; index++) {
    const bits = mixPair(name, index) >>> 0;
    text += ` ${consonants[bits % 20]}${vowels[(bits >>> 8) % 5]}${consonants[(bits >>> 16) % 20]}`;
  }
  if (texts.size === textCountMax) texts.clear();
  texts.set(name, text);
  return text;
}
