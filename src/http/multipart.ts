/**
 * Looks for the `model` field of a multipart form (audio transcriptions, image edits) without assembling the body: it may
 * stand behind 25 MB of file. RFC 2046 section 5.1, RFC 7578.
 *
 * Whatever two readers could read differently has no model here: a second `model` part, one with a file name or a transfer
 * encoding, a delimiter line with bytes behind the boundary, a part that does not end.
 */
import { isCleanFieldValue, isToken, trimOws } from './head-rules.ts';
import { Pieces } from './pieces.ts';

/** RFC 2046 section 5.1.1: 1 to 70 of these, no space at the end. */
const boundaryText = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/;

const partHeadBytesMax = 8192;
const modelBytesMax = 512;
/** A form has some ten fields; the cap bounds the work a hostile body can ask for. */
const partCountMax = 256;

const emptyLine = Buffer.from('\r\n\r\n');

/** The boundary of a `multipart/form-data` content type, or null. */
export function boundaryOf(contentType: string): string | null {
  const boundary = parametersOf(contentType, 'multipart/form-data')?.get('boundary') ?? '';
  return boundaryText.test(boundary) ? boundary : null;
}

/**
 * The value of the form field `model`, or null when there is none, more than one, or the form is malformed. `body`: the
 * whole body in pieces of any size, borrowed for the call. `boundary` comes from `boundaryOf`. One call a request.
 */
export function findMultipartModel(body: readonly Buffer[], boundary: string): string | null {
  const form = new Pieces(body);
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  // The first delimiter may open the body; every later one is preceded by a CRLF of its own.
  const opening = delimiter.subarray(2);
  const first = form.bytes(0, opening.length).equals(opening) ? -2 : form.indexOf(delimiter, 0);
  if (first === -1) return null;
  let at = first + delimiter.length;
  let model: string | null = null;
  for (let partCount = 0; partCount < partCountMax; partCount++) {
    if (form.text(at, at + 2) === '--') return model;
    const part = readPart(form, at, delimiter);
    if (part === null) return null;
    if (part.name === 'model') {
      if (model !== null || !part.isPlainField) return null;
      model = modelText(form, part.valueStart, part.valueEnd);
      if (model === null) return null;
    }
    at = part.valueEnd + delimiter.length;
  }
  return null;
}

interface Part {
  readonly name: string;
  /** No file, no transfer encoding: the value is the bytes as they are. */
  readonly isPlainField: boolean;
  readonly valueStart: number;
  /** Where the delimiter behind the value begins. */
  readonly valueEnd: number;
}

/** The part behind the boundary that ends at `at`; null when it is malformed or does not end. */
function readPart(form: Pieces, at: number, delimiter: Buffer): Part | null {
  // A part without fields begins with the empty line: look from the delimiter's own line end.
  const headEnd = form.indexOf(emptyLine, at);
  if (headEnd === -1 || headEnd - at > partHeadBytesMax) return null;
  const [padding, ...lines] = form.text(at, headEnd).split('\r\n');
  if (trimOws(padding!) !== '') return null;
  const valueStart = headEnd + emptyLine.length;
  // From the head on: a delimiter in it, or one that begins with its empty line, ends the part for some readers.
  const valueEnd = form.indexOf(delimiter, at);
  if (valueEnd < valueStart) return null;
  let name: string | null = null;
  let isPlainField = true;
  for (const line of lines) {
    const colonAt = line.indexOf(':');
    const fieldName = line.slice(0, Math.max(0, colonAt)).toLowerCase();
    if (!isToken(fieldName) || !isCleanFieldValue(line)) return null;
    if (fieldName === 'content-transfer-encoding') isPlainField = false;
    if (fieldName !== 'content-disposition') continue;
    const parameters = parametersOf(line.slice(colonAt + 1), 'form-data');
    if (parameters === null || parameters.has('name*') || name !== null) return null;
    name = parameters.get('name') ?? null;
    if (name === null) return null; // A second field with a name would be read by some.
    if (parameters.has('filename') || parameters.has('filename*')) isPlainField = false;
  }
  // A backslash in a name is an escape to some readers and a character to others.
  if (name === null || name.includes('\\')) return null;
  return { name, isPlainField, valueStart, valueEnd };
}

function modelText(form: Pieces, start: number, end: number): string | null {
  if (end === start || end - start > modelBytesMax) return null;
  const model = form.text(start, end);
  return isCleanFieldValue(model) && !model.includes('\ufffd') ? model : null;
}

/**
 * The parameters of `type *( ";" name "=" ( token / quoted-string ) )` by lower-case name, or null when the type is another,
 * the grammar is broken, or a name comes twice. In a quoted string `\"` is a quote and any other backslash itself, as
 * browsers write file names.
 */
function parametersOf(value: string, type: string): Map<string, string> | null {
  const parameters = new Map<string, string>();
  const typeEnd = value.indexOf(';');
  if (trimOws(typeEnd === -1 ? value : value.slice(0, typeEnd)).toLowerCase() !== type) return null;
  let rest = typeEnd === -1 ? '' : trimOws(value.slice(typeEnd));
  while (rest !== '') {
    const match = /^;[ \t]*([^\s"=;]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"=;]+))[ \t]*/s.exec(rest);
    if (match === null) return rest === ';' ? parameters : null;
    const name = match[1]!.toLowerCase();
    if (parameters.has(name)) return null;
    parameters.set(name, match[2]?.replaceAll('\\"', '"') ?? match[3]!);
    rest = rest.slice(match[0].length);
  }
  return parameters;
}
