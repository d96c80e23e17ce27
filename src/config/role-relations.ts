/** What endpoints' roles and a pool's `disaggregation` must have in common. */
import { parts, words } from './outline.ts';
import type { Item } from './outline.ts';
import type { Path } from './problem.ts';
import { isRawMap } from './reading.ts';

const roles: ReadonlySet<unknown> = new Set(['prefill', 'decode', 'both']);

export function checkRoles(pool: Item, complain: (path: Path, message: string) => void): void {
  const { disaggregation, dialect } = pool.raw;
  const endpoints = parts(pool, 'endpoints');
  if (!isRawMap(disaggregation)) {
    for (const endpoint of endpoints) {
      for (const { path, text } of words(endpoint, 'role')) {
        // A prefill engine answers whole requests too, and badly: nobody wants that by accident.
        if (text === 'prefill' || text === 'decode') {
          complain(path, `role ${text} needs the pool's disaggregation: how its engines hand prompts over`);
        }
      }
    }
    return;
  }
  const path = [...pool.path, 'disaggregation'];
  if (typeof dialect === 'string' && dialect !== 'openai') {
    complain(path, `works with dialect openai only, not ${dialect}`);
  }
  const { protocol } = disaggregation;
  const written = endpoints.map(({ raw }) => raw['role'] ?? 'both');
  // A role that is wrong is reported by itself, and says nothing about what is missing.
  if (endpoints.length === 0 || written.some((role) => !roles.has(role))) return;
  if (protocol === 'sglang') {
    for (const role of ['prefill', 'decode']) {
      if (!written.includes(role)) complain(path, `protocol sglang needs an endpoint with role ${role}`);
    }
  } else if (protocol === 'vllm') {
    const count = (role: string): number => written.filter((each) => each === role || each === 'both').length;
    for (const role of ['prefill', 'decode']) {
      if (count(role) === 0) complain(path, `protocol vllm needs an endpoint with role ${role} or both`);
    }
    if (endpoints.length === 1 && written[0] === 'both') {
      complain(path, 'protocol vllm needs two endpoints: one cannot hand a prompt to itself');
    }
  }
}
