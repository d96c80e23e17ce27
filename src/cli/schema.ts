import { jsonSchema, referenceMarkdown } from '../config/index.ts';
import { parseOptions } from './arguments.ts';
import { UsageError } from './output.ts';
import type { Output } from './output.ts';

/** `penstock schema`: the config file described for editors (JSON Schema) or for people. Returns the exit code. */
export function schemaCommand(argv: readonly string[], { out }: Output): number {
  const { format } = parseOptions('schema', argv, { format: { type: 'string', default: 'json' } });
  if (format === 'json') out(JSON.stringify(jsonSchema(), null, 2) + '\n');
  else if (format === 'markdown') out(referenceMarkdown());
  else throw new UsageError('--format must be json or markdown', 'schema');
  return 0;
}
