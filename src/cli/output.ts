/** Where a command writes. Passed in, so that tests read what a terminal would show. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

export const terminal: Output = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};

/** A wrong command line: the message, and the command whose help is worth showing. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly command: string | null;

  constructor(message: string, command: string | null) {
    super(message);
    this.command = command;
  }
}
