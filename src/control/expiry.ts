import type { Logger } from 'pino';
import type { CertificateFacts } from '../config/index.ts';

const dayMs = 86_400_000;
/** Half of what a 30-day certificate has left when it should have been renewed. */
const warnBeforeMs = 14 * dayMs;

/** What `GET /status` says of a certificate. */
export interface CertificateStatus {
  readonly listener: string;
  readonly cert_path: string;
  readonly server_names: readonly string[];
  readonly fingerprint: string;
  readonly not_after: string;
}

export function certificateStatus(facts: CertificateFacts): CertificateStatus {
  return {
    listener: facts.listener,
    cert_path: facts.certPath,
    server_names: facts.serverNames,
    fingerprint: facts.fingerprint,
    not_after: new Date(facts.notAfterMs).toISOString(),
  };
}

/** One line for each that has expired or soon will. It is served all the same: that is for the clients to judge. */
export function warnOfExpiry(log: Logger, all: readonly CertificateFacts[], unixMs: number): void {
  for (const facts of all) {
    const leftMs = facts.notAfterMs - unixMs;
    if (leftMs > warnBeforeMs) continue;
    const fields = { ...certificateStatus(facts), days_left: Math.floor(leftMs / dayMs) };
    log.warn(fields, leftMs < 0 ? 'certificate has expired' : 'certificate expires soon');
  }
}
