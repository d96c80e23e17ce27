import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { leaseNames, phaseNames } from '../src/exchange/index.ts';
import { requestRules, responseFieldsDropped } from '../src/http/field-rules.ts';

// Pages written by hand are held to the names they explain. Pages made from tables are compared beside those tables.

const root = new URL('../', import.meta.url);
const pages = readdirSync(new URL('docs/', root)).filter((name) => name.endsWith('.md'));

function page(name: string): string {
  return readFileSync(new URL(`docs/${name}`, root), 'utf8');
}

/** GitHub's anchor of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}

test.each(pages)('docs: when a link in %s is followed, it leads somewhere', (name) => {
  const broken: string[] = [];
  for (const [, target] of page(name).matchAll(/\]\(([^)\s]+)\)/g)) {
    const [file, anchor] = target!.split('#') as [string, string | undefined];
    if (/^[a-z]+:/.test(file)) continue;
    const url = new URL(file === '' ? name : file, new URL('docs/', root));
    if (!existsSync(url)) broken.push(target!);
    else if (anchor !== undefined) {
      const headings = [...readFileSync(url, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading!));
      if (!headings.includes(anchor)) broken.push(target!);
    }
  }
  expect(broken).toEqual([]);
});

test('docs: when a phase or a kind of lease is added, the life of an exchange explains it', () => {
  const text = page('life-of-an-exchange.md');
  const names = [...leaseNames, ...phaseNames.filter((name) => name !== 'free')];
  expect(names.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
});

test('docs: when a field has a rule, the page of fields lists it in its direction', () => {
  const [up, down] = page('fields.md').split('## Down');
  const missing = (names: Iterable<string>, text: string): string[] =>
    [...names].filter((name) => !text.includes(`\`${name}\``));
  expect(missing(requestRules.keys(), up!)).toEqual([]);
  expect(missing(responseFieldsDropped, down!)).toEqual([]);
});

test('docs: when the admin port gets a path, its page lists it', () => {
  const text = page('admin.md');
  const source = ['admin-routes.ts', 'admin-port.ts'].map((name) =>
    readFileSync(new URL(`src/control/${name}`, root), 'utf8'),
  );
  const paths = [...source.join('\n').matchAll(/'(\/[a-z]*)':/g)].map(([, path]) => path!);
  expect(paths.length).toBeGreaterThan(10);
  expect(paths.filter((path) => !text.includes(`GET ${path}\``) && !text.includes(`POST ${path}\``))).toEqual([]);
});
