/** Where to listen and where to connect: `host:port` and endpoint URLs, read once so that nobody parses them again. */
import { BlockList, isIP, isIPv6 } from 'node:net';
import type { Reading } from './reading.ts';

/** `host` without brackets, as `net` and `listen` take it; `port` 0 means any free port. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface EndpointUrl {
  /** Normalised: lower-case scheme and host, no default port, no trailing slash. Identifies the endpoint in its pool. */
  readonly url: string;
  readonly tls: boolean;
  /** Without brackets, as `net.connect` takes it. */
  readonly host: string;
  readonly port: number;
  /** The Host header: brackets kept, default port left out. */
  readonly authority: string;
  /** '' or '/x': put before the path of every request. */
  readonly basePath: string;
}

const hostLabel = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

export function isHostName(host: string): boolean {
  if (host.length > 253) return false;
  // A name of digits and dots only is a mistyped IPv4 address: 256.1.1.1 must not be looked up in DNS.
  if (/^[\d.]+$/.test(host)) return isIP(host) === 4;
  return host.split('.').every((label) => hostLabel.test(label));
}

const loopbacks = new BlockList();
loopbacks.addSubnet('127.0.0.0', 8, 'ipv4');
loopbacks.addAddress('::1', 'ipv6');

/** Whether only this machine can reach what listens on `host`. */
export function isLoopback(host: string): boolean {
  const version = isIP(host);
  return version === 0 ? host.toLowerCase() === 'localhost' : loopbacks.check(host, version === 4 ? 'ipv4' : 'ipv6');
}

/** A host name, or one with `*` for its first label. In the case it has. */
export function isServerName(text: string): boolean {
  const rest = text.startsWith('*.') ? text.slice(2) : text;
  return isHostName(rest) && isIP(rest) === 0;
}

export function readAddress(text: string): Reading<Address> {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^[\]]*)):([^:]*)$/.exec(text) ?? [];
  if (digits === undefined) return { complaint: 'must be host:port or [ipv6]:port' };
  if (!/^\d{1,5}$/.test(digits) || Number(digits) > 65535) return { complaint: 'port must be 0 to 65535' };
  if (bracketed !== undefined) {
    if (!isIPv6(bracketed)) return { complaint: `[${bracketed}] is not an IPv6 address` };
    return { value: { host: bracketed, port: Number(digits) } };
  }
  if (plain!.includes(':')) return { complaint: 'an IPv6 address must be in brackets: [::1]:8080' };
  if (!isHostName(plain!)) return { complaint: 'must be host:port or [ipv6]:port' };
  return { value: { host: plain!, port: Number(digits) } };
}

export function readEndpointUrl(text: string): Reading<EndpointUrl> {
  const parsed = URL.canParse(text) ? new URL(text) : null;
  const scheme = parsed?.protocol;
  // `localhost:8000` parses, as scheme "localhost"; and WHATWG repairs `http:x` and `http:\\x`, which nobody means.
  if (parsed === null || (scheme !== 'http:' && scheme !== 'https:') || !/^https?:\/\/[^\\\s]*$/i.test(text)) {
    return { complaint: 'must be a URL such as http://10.0.0.1:8000 or https://host/base' };
  }
  if (parsed.username !== '' || parsed.password !== '') {
    return { complaint: 'must not hold a user or password; use credential' };
  }
  if (text.includes('?')) return { complaint: 'must not have a query' };
  if (text.includes('#')) return { complaint: 'must not have a fragment' };
  if (parsed.port === '0') return { complaint: 'port must be 1 to 65535' };
  const basePath = parsed.pathname.replace(/\/+$/, '');
  if (/(?:^|\/)v1$/.test(basePath)) {
    // The habit of OpenAI clients' base_url; accepted, it would turn every request into /v1/v1/...
    return { complaint: 'must not end in /v1: the path of the request, which starts with it, is appended' };
  }
  const tls = scheme === 'https:';
  return {
    value: {
      url: `${scheme}//${parsed.host}${basePath}`,
      tls,
      host: parsed.hostname.replace(/^\[|\]$/g, ''),
      port: parsed.port === '' ? (tls ? 443 : 80) : Number(parsed.port),
      authority: parsed.host,
      basePath,
    },
  };
}
