/** POST /tokenize and /detokenize. */
import type { SimExchange } from './exchange.ts';
import { servedModel } from './generation-request.ts';
import { ApiError, arrayAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { chatPrompt, plainPrompt } from './prompt.ts';
import { detokenize, tokenText } from './tokenizer.ts';

export function tokenizePrompt(exchange: SimExchange, body: JsonObject): void {
  servedModel(exchange.context, body);
  const withBegin = body['add_special_tokens'] !== false;
  const tokens = 'messages' in body ? chatPrompt(body).tokens : plainPrompt(body['prompt'], 'prompt', withBegin);
  exchange.sendJson({
    count: tokens.length,
    max_model_len: exchange.context.settings.maxModelLen,
    tokens: Array.from(tokens),
    token_strs: body['return_token_strs'] === true ? Array.from(tokens, tokenText) : null,
  });
}

export function detokenizePrompt(exchange: SimExchange, body: JsonObject): void {
  servedModel(exchange.context, body);
  const tokens = arrayAt(body, 'tokens');
  if (tokens === undefined || !tokens.every((id): id is number => typeof id === 'number')) {
    throw new ApiError(400, '`tokens` must be token ids.', 'tokens');
  }
  exchange.sendJson({ prompt: detokenize(tokens) });
}
