/**
 * The PEM files a configuration names: read once, with it, and checked before anything uses them. A certificate that
 * does not fit its key is then a problem of the file like any other, at start, at reload and in `penstock check`, and
 * what a shard loads (now, or after a restart) is what was checked, whatever has become of the files since.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isServerName } from './address.ts';
import { fileReferences, part, parts, words } from './outline.ts';
import type { Item } from './outline.ts';
import type { Complaint } from './problem.ts';
import type { Config, ListenerConfig } from './schema.ts';

/** Contents of the PEM files, by absolute path. */
export type FileTexts = Readonly<Record<string, string>>;

export interface ListenerCertificate {
  readonly certPem: string;
  readonly keyPem: string;
  readonly passphrase: string | null;
  /** Lower case; `*.` in front stands for one label. */
  readonly serverNames: readonly string[];
}

/** What a listener presents and asks for. Plain data, equal when nothing has changed. */
export interface ListenerTls {
  readonly certificates: readonly ListenerCertificate[];
  /** Authorities of client certificates; null when none is asked for. */
  readonly clientCaPem: string | null;
  readonly requiresClientCertificate: boolean;
}

const pemBlock = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** Every certificate in the text. Throws when there is none, or one that cannot be read. */
function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(pemBlock) ?? [];
  if (blocks.length === 0) throw new Error('holds no certificate in PEM form');
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new Error(`its certificate ${index + 1} cannot be read`);
    }
  });
}

function privateKeyIn(pem: string, passphrase: string | null): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(passphrase === null ? pem : { key: pem, passphrase });
  } catch (error) {
    const isLocked = error instanceof Error && /passphrase|bad decrypt|interrupted or cancelled/i.test(error.message);
    throw new Error(
      isLocked ? 'needs another passphrase' : 'holds no private key in PEM form', // What OpenSSL says names its source files.
      { cause: error },
    );
  }
  // The acceptor's TLS library signs with these two only.
  if (key.asymmetricKeyType !== 'rsa' && key.asymmetricKeyType !== 'ec') {
    throw new Error(`must be an RSA or EC key, is ${key.asymmetricKeyType}`);
  }
  return key;
}

/** The names of a certificate (RFC 6125: subjectAltName alone, never the subject). */
function namesOf(leaf: X509Certificate): readonly string[] {
  const found = [...(leaf.subjectAltName ?? '').matchAll(/DNS:([^,\s"]+)/g)].map(([, name]) => name!.toLowerCase());
  return [...new Set(found.filter(isServerName))];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What is wrong with the PEM files. `texts` lacks those that could not be read, which is reported elsewhere. */
export function certificateComplaints(root: Item, texts: FileTexts): readonly Complaint[] {
  const complaints: Complaint[] = [];
  const complain = (holder: Item, key: string, message: string): void => {
    complaints.push({ path: [...holder.path, key], at: 'value', message });
  };
  const textOf = (holder: Item, key: string): string | null => {
    const path = holder.raw[key];
    return typeof path === 'string' && Object.hasOwn(texts, path) ? texts[path]! : null;
  };
  for (const { holder, key } of fileReferences(root)) {
    const text = textOf(holder, key);
    if (text === null || key === 'key_path') continue;
    try {
      certificatesIn(text);
    } catch (error) {
      complain(holder, key, messageOf(error));
    }
  }
  for (const listener of parts(root, 'listeners')) {
    for (const holder of parts(part(listener, 'tls'), 'certificates')) {
      const [certPem, keyPem] = [textOf(holder, 'cert_path'), textOf(holder, 'key_path')];
      if (keyPem === null) continue;
      const { passphrase } = holder.raw;
      try {
        const key = privateKeyIn(keyPem, typeof passphrase === 'string' ? passphrase : null);
        if (certPem !== null && isReadable(certPem) && !certificatesIn(certPem)[0]!.checkPrivateKey(key)) {
          complain(holder, 'key_path', `does not belong to the certificate of ${words(holder, 'cert_path')[0]!.text}`);
        }
      } catch (error) {
        complain(holder, 'key_path', messageOf(error));
      }
    }
  }
  return complaints;
}

function isReadable(certPem: string): boolean {
  try {
    return certificatesIn(certPem).length > 0;
  } catch {
    return false;
  }
}

/** `texts` come from the load that made the configuration. Null for a listener without TLS. */
export function listenerTls({ tls }: ListenerConfig, texts: FileTexts): ListenerTls | null {
  if (tls === null) return null;
  // Of two certificates with one name the earlier answers to it.
  const taken = new Set<string>(tls.certificates.flatMap(({ serverNames }) => serverNames));
  const certificates = tls.certificates.map(({ certPath, keyPath, passphrase, serverNames }): ListenerCertificate => {
    const certPem = texts[certPath]!;
    const own =
      serverNames.length > 0 ? serverNames : namesOf(certificatesIn(certPem)[0]!).filter((n) => !taken.has(n));
    for (const each of own) taken.add(each);
    return { certPem, keyPem: texts[keyPath]!, passphrase, serverNames: own };
  });
  return {
    certificates,
    clientCaPem: tls.clientAuth === 'none' ? null : texts[tls.clientCaPath!]!,
    requiresClientCertificate: tls.clientAuth === 'required',
  };
}

/** One certificate of a listener, as `GET /status` and the log speak of it. */
export interface CertificateFacts {
  readonly listener: string;
  readonly certPath: string;
  readonly serverNames: readonly string[];
  /** SHA-256 of the certificate, as openssl prints it. */
  readonly fingerprint: string;
  readonly notAfterMs: number;
}

export function certificateFacts(config: Config, texts: FileTexts): readonly CertificateFacts[] {
  return config.listeners.flatMap((listener) => {
    const material = listenerTls(listener, texts);
    return (material?.certificates ?? []).map(({ certPem, serverNames }, index): CertificateFacts => {
      const [leaf] = certificatesIn(certPem);
      return {
        listener: listener.name,
        certPath: listener.tls!.certificates[index]!.certPath,
        serverNames,
        fingerprint: leaf!.fingerprint256,
        notAfterMs: Date.parse(leaf!.validTo),
      };
    });
  });
}
