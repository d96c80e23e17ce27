export interface DemoConfig {
  readonly port: number;
  readonly adminPort: number;
  readonly shards: string;
  readonly engineUrls: readonly string[];
}

export const demoModel = 'demo-model';

/** The config file of the demo; short, because it is also what a newcomer reads first. */
export function demoConfig({ port, adminPort, shards, engineUrls }: DemoConfig): string {
  return `# Written by "penstock demo"; a start for your own file. docs/config.md describes every key.
listeners:
  - name: public
    address: 127.0.0.1:${port}
    filter_chains: [edge]
admin: { address: 127.0.0.1:${adminPort} }
runtime: { shards: ${shards} }
timeouts: { drain_ms: 10s }
models:
  - name: ${demoModel}
    aliases: [gpt-4o-mini]
    targets:
      - { pool: sims, model: ${demoModel} }
default_pool: sims
pools:
  - name: sims
    engine: vllm
    picker: least_load
    health: { path: /health, interval_ms: 1s }
    endpoints:
${engineUrls.map((url) => `      - { url: "${url}" }`).join('\n')}
filter_chains:
  - name: edge
    filters:
      - { filter: request_id }
      - { filter: access_log }
`;
}
