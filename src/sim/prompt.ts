/**
 * The chat template: messages of the three chat dialects become one list of tokens, the same for the same conversation, so
 * that a follow-up turn starts with all the tokens of the turn before, its answer included.
 */
import { ApiError, arrayAt, isObject, stringAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { hashText } from './random.ts';
import { toolCallTokens } from './text.ts';
import { imageToken, special, TokenList } from './tokenizer.ts';

/** What a picture costs, whatever its size. */
const imageTokens = 256;

export interface ChatPrompt {
  readonly tokens: Int32Array;
  /** Text of the last user message: tests steer tool calls with it. */
  readonly lastUserText: string;
}

export class PromptWriter {
  readonly #list = new TokenList();
  #lastUserText = '';
  #role = '';

  constructor() {
    this.#list.push(special.begin);
  }

  openTurn(role: string): void {
    this.#role = role;
    this.#list.push(special.headerStart);
    this.#list.pushText(role);
    this.#list.push(special.headerEnd);
  }

  closeTurn(): void {
    this.#list.push(special.turnEnd);
  }

  text(text: string): void {
    if (this.#role === 'user') this.#lastUserText = text;
    this.#list.pushText(text);
  }

  /** `source`: URL or data URL; two pictures share tokens only when it is equal. */
  image(source: string): void {
    const hash = hashText(source);
    for (let index = 0; index < imageTokens; index++) this.#list.push(imageToken(Math.imul(hash, index * 2 + 1) >>> 8));
  }

  toolCall(name: string, argumentsText: string): void {
    for (const token of toolCallTokens(name, argumentsText)) this.#list.push(token);
  }

  /** Tools stand before the conversation, where the template puts them. */
  tools(tools: readonly unknown[] | undefined): void {
    if (tools === undefined || tools.length === 0) return;
    this.openTurn('tools');
    this.#list.pushText(JSON.stringify(tools));
    this.closeTurn();
  }

  /** Opens the assistant's turn, which the model completes. */
  finish(): ChatPrompt {
    this.openTurn('assistant');
    return { tokens: this.#list.view(), lastUserText: this.#lastUserText };
  }
}

/** One message's content: a string, or parts as OpenAI (chat and Responses) and Anthropic write them. */
export function writeContent(writer: PromptWriter, content: unknown): void {
  if (typeof content === 'string') {
    writer.text(content);
    return;
  }
  if (!Array.isArray(content)) return;
  for (const part of content as readonly unknown[]) {
    if (!isObject(part)) continue;
    switch (part['type']) {
      case 'image_url':
        writer.image(JSON.stringify(part['image_url']));
        break;
      case 'input_image':
      case 'image':
        writer.image(JSON.stringify(part['image_url'] ?? part['source']));
        break;
      case 'tool_use':
        writer.toolCall(String(part['name']), JSON.stringify(part['input']));
        break;
      case 'tool_result':
        writeContent(writer, part['content']);
        break;
      default:
        if (typeof part['text'] === 'string') writer.text(part['text']);
    }
  }
}

/** OpenAI chat messages. Throws ApiError 400 when there are none. */
export function chatPrompt(body: JsonObject): ChatPrompt {
  const messages = arrayAt(body, 'messages');
  if (messages === undefined || messages.length === 0)
    throw new ApiError(400, '`messages` must not be empty.', 'messages');
  const writer = new PromptWriter();
  writer.tools(arrayAt(body, 'tools'));
  for (const message of messages) {
    if (!isObject(message)) throw new ApiError(400, 'A message must be an object.', 'messages');
    const role = stringAt(message, 'role');
    if (role === undefined) throw new ApiError(400, 'A message must have a role.', 'messages');
    writer.openTurn(role);
    writeContent(writer, message['content']);
    for (const call of arrayAt(message, 'tool_calls') ?? []) {
      const called = isObject(call) ? call['function'] : null;
      if (isObject(called)) writer.toolCall(String(called['name']), String(called['arguments']));
    }
    writer.closeTurn();
  }
  return writer.finish();
}

/** A plain prompt, as legacy completions, embeddings and `/tokenize` take it: text, or token ids as they are. */
export function plainPrompt(prompt: unknown, param: string, withBegin = true): Int32Array {
  if (typeof prompt === 'string') {
    const list = new TokenList((prompt.length >>> 1) + 8);
    if (withBegin) list.push(special.begin);
    list.pushText(prompt);
    return list.view();
  }
  if (Array.isArray(prompt) && prompt.length > 0 && prompt.every((id) => Number.isInteger(id) && id >= 0)) {
    return Int32Array.from(prompt as readonly number[]);
  }
  throw new ApiError(400, `\`${param}\` must be text or token ids.`, param);
}

/** One prompt or several: a string, strings, token ids, or lists of token ids. Throws ApiError 400 when there is none. */
export function plainPrompts(value: unknown, param: string): readonly Int32Array[] {
  const isList = Array.isArray(value) && typeof value[0] !== 'number';
  const prompts: readonly unknown[] = isList ? value : [value];
  if (prompts.length === 0) throw new ApiError(400, `\`${param}\` must not be empty.`, param);
  return prompts.map((prompt) => plainPrompt(prompt, param));
}
