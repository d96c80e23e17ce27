/** Memory of a process. */
import { readFileSync } from 'node:fs';

/** Resident set in bytes. proc(5). @param {number} pid */
export function rssBytesOf(pid) {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib ?? 0) * 1024;
}
