import { setTimeout as sleep } from 'node:timers/promises';
import { askAdmin } from '../control/index.ts';
import { parseOptions } from './arguments.ts';
import { UsageError } from './output.ts';
import type { Output } from './output.ts';
import { renderFrame } from './top-frame.ts';
import type { Frame } from './top-frame.ts';

const intervalMs = 1000;

/** `penstock top`: draws what the admin port says, once a second. Returns the exit code. */
export async function topCommand(argv: readonly string[], output: Output): Promise<number> {
  const values = parseOptions('top', argv, {
    admin: { type: 'string', default: 'http://127.0.0.1:9901' },
    token: { type: 'string' },
    once: { type: 'boolean', default: false },
  });
  if (!URL.canParse(values.admin)) throw new UsageError('--admin must be a URL', 'top');
  const { username, password } = new URL(values.admin);
  // It would be shown on every frame, and would not be understood.
  if (username !== '' || password !== '') throw new UsageError('--admin takes no user or password; use --token', 'top');
  const token = values.token ?? process.env['PENSTOCK_ADMIN_TOKEN'] ?? null;
  if (values.once) {
    try {
      output.out(renderFrame(await fetchFrame(values.admin, token), null));
      return 0;
    } catch (error) {
      output.err(`penstock: ${values.admin}: ${reasonOf(error)}\n`);
      return 2;
    }
  }
  return drawUntilQuit(values.admin, token, output);
}

async function drawUntilQuit(admin: string, token: string | null, output: Output): Promise<number> {
  const quit = new AbortController();
  const onKey = (key: Buffer): void => {
    if (key.includes('q') || key.includes(3)) quit.abort(); // 3 is Ctrl-C in raw mode.
  };
  const { stdin } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', onKey);
  process.once('SIGINT', () => quit.abort());
  output.out('\x1b[?1049h\x1b[?25l'); // Alternate screen, no cursor.
  let last: Frame | null = null;
  try {
    while (!quit.signal.aborted) {
      let text: string;
      try {
        const frame = await fetchFrame(admin, token);
        text = renderFrame(frame, last);
        last = frame;
      } catch (error) {
        text = `${admin}: ${reasonOf(error)}\n`;
      }
      output.out('\x1b[H' + text.replaceAll('\n', '\x1b[K\n') + '\x1b[Jq quits');
      await sleep(intervalMs, undefined, { signal: quit.signal }).catch(() => {});
    }
  } finally {
    output.out('\x1b[?25h\x1b[?1049l');
    stdin.off('data', onKey);
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
  }
  return 0;
}

async function fetchFrame(origin: string, token: string | null): Promise<Frame> {
  const [status, histograms] = await Promise.all([
    askAdmin('/status', { origin, token }),
    askAdmin('/histograms', { origin, token }),
  ]);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the gateway is of this version, or draws nonsense.
  return { status, ...(histograms as object), atMs: performance.now() } as Frame;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error && error.code === 'ECONNREFUSED' ? 'nobody listens there' : error.message;
}
