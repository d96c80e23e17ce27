/** The schema as a tree of documented rows: what the reference page, the mask and the reload check walk. */
import * as z from 'zod';
import { fieldDocs } from './field.ts';
import type { FieldDoc, Reload } from './field.ts';
import { fileSchema } from './schema.ts';

export interface SchemaNode {
  /** Key in the file; '' for the root. */
  readonly key: string;
  /** `pools[].endpoints[].url`. */
  readonly path: string;
  readonly doc: FieldDoc;
  /** Its own rule, or that of the section around it. */
  readonly reload: Reload;
  /** `section`: one map. `sections`: a list of maps. `forms`: a list of maps of several forms, its children one each. */
  readonly shape: 'leaf' | 'section' | 'sections' | 'forms';
  readonly children: readonly SchemaNode[];
}

/** The schema one layer in, or null when `schema` is a bare type. */
function inner(schema: z.core.$ZodType): z.core.$ZodType | null {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodNullable) return schema.def.innerType;
  // What a preprocess step is for is behind it; any other pipe transforms what is before it.
  if (schema instanceof z.ZodPipe) return schema.def.in instanceof z.ZodTransform ? schema.def.out : schema.def.in;
  return null;
}

/** The documentation of the outermost layer that has one, and the bare type below all layers. */
function open(schema: z.core.$ZodType): { readonly doc: FieldDoc; readonly bare: z.core.$ZodType } {
  let doc = fieldDocs.get(schema);
  let bare = schema;
  for (let next = inner(bare); next !== null; next = inner(bare)) {
    bare = next;
    doc ??= fieldDocs.get(bare);
  }
  return { doc: doc ?? noDoc, bare };
}

const noDoc: FieldDoc = { type: '', fallback: null, bounds: '', reload: null, secret: false, doc: '' };

function build(schema: z.core.$ZodType, key: string, path: string, around: Reload): SchemaNode {
  const { doc, bare } = open(schema);
  const reload = doc.reload ?? around;
  const node = { key, path, doc, reload };
  const element = bare instanceof z.ZodArray ? open(bare.def.element).bare : null;
  if (
    element instanceof z.ZodUnion &&
    element.def.options.every((option) => open(option).bare instanceof z.ZodObject)
  ) {
    const forms = element.def.options.map((option) => build(option, '', `${path}[]`, reload));
    return { ...node, shape: 'forms', children: forms };
  }
  const map = element ?? bare;
  if (!(map instanceof z.ZodObject)) return { ...node, shape: 'leaf', children: [] };
  const prefix = element !== null ? `${path}[].` : path === '' ? '' : `${path}.`;
  const children = Object.entries(map.def.shape).map(([childKey, child]) =>
    build(child, childKey, prefix + childKey, reload),
  );
  return { ...node, shape: element !== null ? 'sections' : 'section', children };
}

export const schemaTree: SchemaNode = build(fileSchema, '', '', 'live');

/** Every node, parents first. */
export function* nodesOf(node: SchemaNode): Generator<SchemaNode> {
  yield node;
  for (const child of node.children) yield* nodesOf(child);
}
