/** Committed configurations with the few values that are known only at the start: `@NAME@` in the text. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Writes the file into `folder` and returns its path. Throws when a name has no value.
 * @param {string} name of a file in this folder
 * @param {string} folder
 * @param {Record<string, string | number>} values
 */
export function render(name, folder, values) {
  const text = readFileSync(fileURLToPath(new URL(name, import.meta.url)), 'utf8');
  const path = join(folder, name);
  const filled = text.replace(/@([A-Z_]+)@/g, (_, /** @type {string} */ key) => {
    const value = values[key];
    if (value === undefined) throw new Error(`${name}: @${key}@ has no value`);
    return String(value);
  });
  writeFileSync(path, filled);
  return path;
}
