/** Environment variables by name. Handed in by whoever may read them (control, cli). */
export type Env = Readonly<Record<string, string | undefined>>;

export interface Expansion {
  readonly text: string;
  readonly complaints: readonly string[];
}

/**
 * Replaces each `${NAME}` by its variable. `$${` stands for a literal `${`. What a variable holds is not looked at again.
 * There is no default syntax: a missing variable is a complaint, so that a deployment without its secret does not start.
 */
export function expandEnv(source: string, env: Env): Expansion {
  const complaints: string[] = [];
  const text = source.replace(/\$\$\{|\$\{([^}]*)(\}?)/g, (whole, name: string | undefined, close: string) => {
    if (name === undefined) return '${';
    if (close === '' || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      complaints.push(`${whole} is not an environment variable; write $\${ for a literal \${`);
      return '';
    }
    const value = Object.hasOwn(env, name) ? env[name] : undefined;
    if (value === undefined) complaints.push(`environment variable ${name} is not set`);
    return value ?? '';
  });
  return { text, complaints };
}
