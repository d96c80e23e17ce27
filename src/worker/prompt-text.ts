/**
 * Which parts of a request are text the model reads. Counted: messages, prompt, input, system, instructions and tools. Not
 * counted: pictures, sound and files (their cost is no matter of text), and what a chat template puts around each message,
 * which differs by model (OpenAI's own adds about 4 tokens a message).
 */
export interface PromptTexts {
  readonly texts: readonly string[];
  /** Prompts given as token ids count themselves. */
  readonly tokenIdCount: number;
}

/** Members of a message or a content part whose strings are text: OpenAI chat and Responses, Anthropic messages. */
const textKeys: ReadonlySet<string> = new Set([
  'content',
  'text',
  'name',
  'arguments',
  'output',
  'refusal',
  'thinking',
  'reasoning_content',
]);
/** Members that hold more of the same. */
const innerKeys: ReadonlySet<string> = new Set(['tool_calls', 'function', 'function_call', 'summary']);
/** Members that reach the model as JSON text, whatever is in them. */
const renderedKeys: ReadonlySet<string> = new Set(['input']);

/** `body`: parsed. Throws RangeError when tools are nested deeper than JSON.stringify can follow. */
export function promptTexts(body: Readonly<Record<string, unknown>>): PromptTexts {
  const texts: string[] = [];
  let tokenIdCount = 0;
  // A stack, not recursion: clients choose the depth. Children are pushed backwards, to keep the order of the text.
  const stack: unknown[] = [
    body['messages'],
    body['prompt'],
    body['input'],
    body['system'],
    body['instructions'],
  ].toReversed();
  while (stack.length > 0) {
    const value = stack.pop();
    if (typeof value === 'string') {
      texts.push(value);
    } else if (typeof value === 'number') {
      tokenIdCount++;
    } else if (Array.isArray(value)) {
      for (let index = value.length - 1; index >= 0; index--) stack.push(value[index]);
    } else if (typeof value === 'object' && value !== null) {
      const entries = Object.entries(value);
      for (let index = entries.length - 1; index >= 0; index--) {
        const [key, member]: [string, unknown] = entries[index]!;
        if (renderedKeys.has(key)) stack.push(JSON.stringify(member));
        else if (textKeys.has(key) || innerKeys.has(key)) stack.push(member);
      }
    }
  }
  for (const key of ['tools', 'functions']) {
    const value = body[key];
    // As the usual chat templates render them: compact JSON.
    if (typeof value === 'object' && value !== null) texts.push(JSON.stringify(value));
  }
  return { texts, tokenIdCount };
}
