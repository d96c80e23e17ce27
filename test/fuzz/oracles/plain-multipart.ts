import { isUtf8 } from 'node:buffer';

/**
 * The model of a form whose whole text is split at its delimiters (RFC 2046 section 5.1.1), by one regular expression a part.
 * Null for whatever is not one plain field of that name, as src/http/multipart.ts says.
 */
export function plainModel(form: Buffer, boundary: string): string | null {
  const text = form.toString('latin1');
  const [, ...parts] = (text.startsWith(`--${boundary}`) ? `\r\n${text}` : text).split(`\r\n--${boundary}`);
  const models: string[] = [];
  for (const part of parts) {
    if (part.startsWith('--')) return models.length === 1 ? models[0]! : null;
    const value = valueOf(part);
    if (value === null) return null;
    if (value.isModel) {
      if (value.model === null || models.length > 0) return null;
      models.push(value.model);
    }
  }
  return null; // The last part does not end.
}

interface Value {
  readonly isModel: boolean;
  /** Null when it is no name of a model. */
  readonly model: string | null;
}

function valueOf(part: string): Value | null {
  // The head ends with the first empty line; a part without fields has it right behind the delimiter.
  const end = part.indexOf('\r\n\r\n');
  if (end === -1 || end > 8192 || !/^[ \t]*(?:\r\n|$)/.test(part.slice(0, end))) return null;
  const lines = part.slice(0, end).split('\r\n').slice(1);
  const names: (string | null)[] = [];
  let isPlain = true;
  for (const line of lines) {
    const match = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\0-\x08\x0a-\x1f\x7f]*)$/.exec(line); // oxlint-disable-line no-control-regex -- They are the rule.
    if (match === null) return null;
    const name = match[1]!.toLowerCase();
    if (name === 'content-transfer-encoding') isPlain = false;
    if (name !== 'content-disposition') continue;
    const parameters = disposition(utf8(match[2]!));
    if (parameters === null || parameters.has('name*')) return null;
    names.push(parameters.get('name') ?? null);
    if (parameters.has('filename') || parameters.has('filename*')) isPlain = false;
  }
  const [name = null, ...others] = names;
  if (name === null || others.length > 0 || name.includes('\\')) return null;
  const raw = part.slice(end + 4);
  const model = utf8(raw);
  const isName =
    isPlain &&
    raw !== '' &&
    raw.length <= 512 &&
    isUtf8(Buffer.from(raw, 'latin1')) &&
    !model.includes('\ufffd') &&
    !/[\0-\x08\x0a-\x1f\x7f]/.test(model); // oxlint-disable-line no-control-regex -- They are the rule.
  return { isModel: name === 'model', model: isName ? model : null };
}

/** `form-data` and its parameters, each once. */
function disposition(value: string): Map<string, string> | null {
  const whole =
    /^[ \t]*form-data[ \t]*((?:;[ \t]*[^\s"=;]+=(?:"(?:[^"\\]|\\.)*"|[^\s"=;]+)[ \t]*)*)(?:;[ \t]*)?$/is.exec(value);
  if (whole === null) return null;
  const parameters = new Map<string, string>();
  for (const [, name, quoted, plain] of whole[1]!.matchAll(
    /;[ \t]*([^\s"=;]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"=;]+))/gs,
  )) {
    if (parameters.has(name!.toLowerCase())) return null;
    parameters.set(name!.toLowerCase(), plain ?? quoted!.replaceAll('\\"', '"'));
  }
  return parameters;
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
