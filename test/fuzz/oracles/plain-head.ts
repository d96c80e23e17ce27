/** The rules of src/http/head-rules.ts and host.ts as regular expressions, which read like the grammar. */

export function plainToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}

export function plainValue(text: string): boolean {
  return !/[\0-\x08\x0a-\x1f\x7f]/.test(text); // oxlint-disable-line no-control-regex -- The control bytes are the rule.
}

export function plainLength(text: string): number {
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : -1;
}

/** In the path no control character and no `\`, encoded or not, and no segment is a dot segment to a reader who decodes, takes `\` for `/` and cuts parameters off. */
export function plainTarget(text: string): boolean {
  if (
    !/^\/(?:[!-~])*$/.test(text) ||
    /[#\\]/.test(text) ||
    /%(?![0-9A-Fa-f]{2})/.test(text) ||
    /%(?:00|0a|0d)/i.test(text)
  )
    return false;
  const path = text.split('?', 1)[0]!;
  if (/%(?:[01][0-9a-f]|7f|5c)/i.test(path)) return false;
  return path
    .slice(1)
    .split(/\/|%2f|%5c/i)
    .every((segment) => !/^(?:\.|%2e){1,2}(?:;|%3b|$)/i.test(segment));
}

export function plainHost(text: string, isIPv6: (address: string) => boolean): boolean {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|((?!\.)[-._~!$&'()*+;=0-9A-Za-z]+))(?::([0-9]{0,5}))?$/.exec(text);
  if (match === null) return false;
  const [, address, , port] = match;
  return (address === undefined || isIPv6(address)) && Number(port ?? 0) <= 65535;
}
