/** What a target of a model asks of the endpoints of its pool. Loads no schema: shards need it too. */
import type { Complaint } from './problem.ts';
import type { Config, EndpointConfig, TargetConfig } from './schema.ts';

type Constraint = Pick<TargetConfig, 'skus' | 'quantizations'>;

/** An endpoint that does not say what it is meets no demand for it. */
export function meetsConstraint(
  { skus, quantizations }: Constraint,
  { sku, quantization }: Pick<EndpointConfig, 'sku' | 'quantization'>,
): boolean {
  return isOneOf(sku, skus) && isOneOf(quantization, quantizations);
}

function isOneOf(value: string | null, wanted: readonly string[]): boolean {
  return wanted.length === 0 || (value !== null && wanted.includes(value));
}

/** Targets that no endpoint can serve. No error: the endpoints may be on their way, and the other targets serve meanwhile. */
export function unmetTargets({ models, pools }: Config): readonly Complaint[] {
  const complaints: Complaint[] = [];
  for (const [modelIndex, model] of models.entries()) {
    for (const [targetIndex, target] of model.targets.entries()) {
      const { endpoints } = pools.find(({ name }) => name === target.pool)!;
      if (endpoints.some((endpoint) => meetsConstraint(target, endpoint))) continue;
      const key = target.skus.length > 0 ? 'skus' : 'quantizations';
      complaints.push({
        path: ['models', modelIndex, 'targets', targetIndex, key],
        at: 'value',
        message: `no endpoint of pool ${target.pool} has what is asked for: nothing goes to this target`,
      });
    }
  }
  return complaints;
}
