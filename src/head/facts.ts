import type { RequestFacts } from '../exchange/index.ts';
import type { RequestScanner } from '../http/index.ts';

/** Copies what the scanner has found so far. Called when routing asks, and again when the body is complete. */
export function takeFacts(facts: RequestFacts, scanner: RequestScanner): void {
  facts.model = scanner.model;
  facts.modelStart = scanner.modelStart;
  facts.modelEnd = scanner.modelEnd;
  facts.isStream = scanner.stream === true;
  facts.includesUsage = scanner.includeUsage === true;
  facts.completionTokensMax = Math.max(scanner.maxCompletionTokens, scanner.maxTokens, scanner.maxOutputTokens);
  facts.user = scanner.user;
  facts.promptCacheKey = scanner.promptCacheKey;
}
