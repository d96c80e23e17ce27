/** The schema for editors (JSON Schema) and for people (docs/config.md). */
import * as z from 'zod';
import { fieldDocs } from './field.ts';
import { fileSchema } from './schema.ts';
import { schemaTree } from './schema-tree.ts';
import type { SchemaNode } from './schema-tree.ts';

/** Draft 2020-12, of the file's form. Relations between settings are beyond it: `penstock check` has them. */
export function jsonSchema(): object {
  const schema = z.toJSONSchema(fileSchema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema: target }) => {
      const doc = fieldDocs.get(zodSchema)?.doc;
      if (doc !== undefined && doc !== '') target.description = doc.replaceAll('`', '');
    },
  });
  const { $schema, ...rest } = schema;
  return { $schema, title: 'Penstock configuration', ...rest };
}

const preface = `# Configuration reference

Made from the schema by \`npm run docs\`; a test fails when it is stale. \`penstock schema\` prints the same as JSON Schema.

- **Form**: YAML 1.2, one document. Unknown keys and keys given twice are errors, and all problems are reported at once, each with its line and
  column. An empty value (\`limits:\`) is an absent one. Anchors and aliases work; merge keys (\`<<\`) do not exist.
- **Sizes**: bytes as an integer, or \`B\`, \`KB\`, \`MB\`, \`GB\`, \`TB\` (powers of 1000), \`KiB\`, \`MiB\`, \`GiB\`, \`TiB\` (powers of 1024). Case matters.
- **Durations**: milliseconds as an integer, or \`ms\`, \`s\`, \`m\`, \`h\`.
- **Variables**: \`\${NAME}\` in any text is replaced by the environment variable, also in numbers (\`address: 0.0.0.0:\${PORT}\`); a missing one is an
  error, and there is no default syntax. \`$\${\` is a literal \`\${\`. Inside \`{ }\` and \`[ ]\` the text needs quotes: \`{ credential: "\${KEY}" }\`.
- **Paths** are relative to the folder of the file. \`check\` and \`run\` want every named file to exist.
- **Secrets** are shown as \`***\` by \`GET /config\`. In \`options\` and in header maps, which have keys of your own, what has a name like \`token\`,
  \`key\`, \`auth\`, \`secret\`, \`password\` or \`cookie\` counts as one.
- **Reload** says when a change takes effect after \`SIGHUP\` or \`POST /reload\`. *live*: for the next exchange; those under way keep the settings they
  started with. *restart*: in a new process only; a reload that changes it is refused whole, naming it.

A pool that needs a key from the environment (the files in \`config/\` need none):

\`\`\`yaml
listeners:
  - { name: public, address: 127.0.0.1:8080 }
pools:
  - name: openai
    engine: none
    endpoints: [{ url: "https://api.openai.com" }]
    credential: \${OPENAI_API_KEY}
\`\`\`
`;

/** docs/config.md, whole. */
export function referenceMarkdown(): string {
  const blocks = [preface, '## The file\n', table(schemaTree.children)];
  for (const child of schemaTree.children) blocks.push(...describe(child, 2));
  blocks.push(...describeConditions(schemaTree));
  return `${blocks
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trimEnd()}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', String.raw`\|`);
}

function table(nodes: readonly SchemaNode[]): string {
  const rows = nodes.map(({ key, doc, reload, shape }) => {
    const fallback = doc.fallback === null ? '**required**' : doc.fallback === 'none' ? 'none' : `\`${doc.fallback}\``;
    const type = shape === 'leaf' || shape === 'section' ? typeText(doc.type) : doc.type;
    return `| ${[`\`${key}\``, type, fallback, doc.bounds, reload, doc.doc].map(cell).join(' | ')} |`;
  });
  return [
    '| Key | Type | Default | Bounds | Reload | Meaning |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

function typeText(type: string): string {
  return type === 'condition' ? '[condition](#conditions)' : type;
}

function describe(node: SchemaNode, level: number): string[] {
  if (node.shape === 'leaf' || node.doc.type === 'condition') return [];
  const heading = `${'#'.repeat(Math.min(level, 6))} \`${node.path}${node.shape === 'section' ? '' : '[]'}\`\n`;
  if (node.shape === 'forms') {
    return [heading, `${node.doc.doc}\n`, ...node.children.flatMap((form) => describeForm(form, level + 1))];
  }
  const nested = node.children.flatMap((child) => describe(child, level + 1));
  return [heading, `${node.doc.doc}\n`, table(node.children), ...nested];
}

function describeForm(form: SchemaNode, level: number): string[] {
  const kind = form.children.find(({ key }) => key === 'filter')!.doc.type;
  const isOwn = form.children.some(({ key }) => key === 'module');
  const heading = `${'#'.repeat(Math.min(level, 6))} ${isOwn ? 'A filter of your own' : kind}\n`;
  const text = isOwn ? [] : [`${form.doc.doc}\n`];
  return [heading, ...text, table(form.children), ...form.children.flatMap((child) => describe(child, level + 1))];
}

function describeConditions(root: SchemaNode): string[] {
  const find = (node: SchemaNode): SchemaNode | undefined =>
    node.doc.type === 'condition' ? node : node.children.map(find).find((found) => found !== undefined);
  const text =
    'What `when` and `unless` of a filter hold. All keys given must match; of a list, any one. At least one key is needed.\n';
  return ['## Conditions\n', text, table(find(root)!.children)];
}
