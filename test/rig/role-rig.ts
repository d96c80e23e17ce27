import { rig, type Rig } from './rig.ts';

// What tests of pools with roles have in common, whatever the protocol.

/** Long enough to be computed elsewhere. */
export const longPrompt = 'How high is the water? '.repeat(100);
export const chatAnswer = '{"choices":[{"message":{"content":"high"}}]}';

/** A chat completion for model `m` with a long prompt. */
export function chatBody(rest: object = {}): string {
  return JSON.stringify({ messages: [{ role: 'user', content: longPrompt }], ...rest, model: 'm' });
}

export interface RoleRigOptions {
  /** As YAML flow: `protocol: vllm`, and what else belongs to `disaggregation`. */
  readonly disaggregation: string;
  /** Of the endpoints, in order; what else is to be said of one may follow: `decode, weight: 5`. */
  readonly roles: readonly string[];
  readonly picker?: string;
  /** More keys of the pool, as YAML flow that begins with a comma. */
  readonly extra?: string;
  /** In front of `models`. */
  readonly top?: string;
  /** What engines call the model; the same if absent. */
  readonly upstreamModel?: string;
  readonly shardCount?: number;
}

/** Model `m` is served by a pool named `split`. */
export function roleRig(options: RoleRigOptions): Promise<Rig> {
  const { disaggregation, roles, picker = 'round_robin', extra = '', top = '', upstreamModel = 'm' } = options;
  const { shardCount = 1 } = options;
  const endpoints = roles.map((role, index) => `{ url: "$UPSTREAM${index}", role: ${role} }`);
  return rig({
    upstreamCount: roles.length,
    shardCount,
    yaml: `${top}
models: [{ name: m, targets: [{ pool: split, model: ${upstreamModel} }] }]
pools:
  - { name: split, engine: none, picker: ${picker}, disaggregation: { ${disaggregation} }${extra}, endpoints: [${endpoints.join(', ')}] }
`,
  });
}
