/** Environment variables by name. Handed in by whoever may read them (control, cli). */
export type Env = Readonly<Record<string, string | undefined>>;

export interface Expansion {
  readonly text: string;
  readonly complaints: readonly string[];
}

/**
 * Replaces each `${NAME}` by its variable. `$${` stands for a literal `${`. What a variable holds is not looked at again.
 * There is no default syntax: a missing variable is a complaint, so that a deployment without its secret does not start.
 * `used` is told what was put in.
 */
export function expandEnv(source: string, env: Env, used: Map<string, string>): Expansion {
  const complaints: string[] = [];
  const text = source.replace(/\$\$\{|\$\{([^}]*)(\}?)/g, (whole, name: string | undefined, close: string) => {
    if (name === undefined) return '${';
    if (close === '' || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      complaints.push(`${whole} is not an environment variable; write $\${ for a literal \${`);
      return '';
    }
    const value = Object.hasOwn(env, name) ? env[name] : undefined;
    if (value === undefined) complaints.push(`environment variable ${name} is not set`);
    else used.set(name, value);
    return value ?? '';
  });
  return { text, complaints };
}

/** Shorter values say nothing worth hiding, and stand in too many words by chance. */
const hiddenLengthMin = 4;

/** `text` with the names of variables in place of their values: for messages, in which a secret has no place. */
export function withoutValues(text: string, variables: ReadonlyMap<string, string>): string {
  let hidden = text;
  // Longest first: one value may be a part of another.
  for (const [name, value] of [...variables].sort(([, a], [, b]) => b.length - a.length)) {
    if (value.length >= hiddenLengthMin) hidden = hidden.replaceAll(value, `\${${name}}`);
  }
  return hidden;
}
