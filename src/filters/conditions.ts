import type { ConditionConfig } from '../config/index.ts';
import { looseReading } from '../http/index.ts';
import type { FilterContext, FilteredExchange } from './filter.ts';

/** Decides per exchange whether a filter acts. */
export interface Condition {
  matches(exchange: FilteredExchange): boolean;
  /** True when it can only be decided once the model is known. */
  readonly needsFacts: boolean;
  /** True when it can only be decided once the whole body was seen. */
  readonly needsWholeBody: boolean;
}

type Test = (exchange: FilteredExchange) => boolean;

function matcherOf(patterns: readonly string[]): (text: string) => boolean {
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith('*')));
  const prefixes = patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
  return (text) => exact.has(text) || prefixes.some((prefix) => text.startsWith(prefix));
}

/** `when` and `unless` of one filter, or null when it always acts. Keys are joined by and, lists by or. */
export function compileCondition(
  when: ConditionConfig | null,
  unless: ConditionConfig | null,
  context: FilterContext,
): Condition | null {
  if (when === null && unless === null) return null;
  const whenTests = when === null ? [] : testsOf(when, context, false);
  const unlessTests = unless === null ? [] : testsOf(unless, context, true);
  const uses = (pick: (condition: ConditionConfig) => unknown): boolean =>
    [when, unless].some((condition) => condition !== null && pick(condition) !== null);
  const needsWholeBody = uses((condition) => condition.stream);
  return {
    needsWholeBody,
    needsFacts: needsWholeBody || uses((condition) => condition.model),
    matches: (exchange) =>
      whenTests.every((test) => test(exchange)) &&
      (unlessTests.length === 0 || !unlessTests.every((test) => test(exchange))),
  };
}

/**
 * `needsAll`: a path matches by all of its readings. A path that servers may read in two ways (`/a//b`, `/a/%62`) so
 * does not slip past a filter: it acts `when` one of them matches, and is left out `unless` only where both do.
 */
function testsOf(condition: ConditionConfig, context: FilterContext, needsAll: boolean): Test[] {
  const tests: Test[] = [];
  if (condition.path !== null) {
    const matches = matcherOf(condition.path);
    tests.push(({ head: { path } }) => {
      if (matches(path) !== needsAll) return !needsAll;
      const loose = looseReading(path);
      return loose === path ? needsAll : matches(loose);
    });
  }
  if (condition.method !== null) {
    const methods = new Set(condition.method);
    tests.push((exchange) => methods.has(exchange.head.method));
  }
  if (condition.model !== null) {
    const models = new Set(condition.model);
    tests.push((exchange) => exchange.facts.model !== null && models.has(exchange.facts.model));
  }
  if (condition.listener !== null) {
    const listeners = new Set(condition.listener);
    tests.push((exchange) => listeners.has(context.listenerName(exchange)));
  }
  if (condition.stream !== null) {
    const wanted = condition.stream;
    tests.push((exchange) => exchange.facts.isStream === wanted);
  }
  for (const [name, wanted] of Object.entries(condition.header ?? {})) {
    const lowerName = name.toLowerCase();
    tests.push((exchange) => {
      const value = exchange.head.get(lowerName);
      return value !== null && (wanted === '*' || value === wanted);
    });
  }
  return tests;
}
