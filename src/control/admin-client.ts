import { request } from 'undici';

/** One request to the admin port of a running gateway. */
export interface AdminAsk {
  /** Where it listens, e.g. `http://127.0.0.1:9901`. */
  readonly origin: string;
  readonly token: string | null;
  readonly method?: 'GET' | 'POST';
}

const timeoutMs = 2000;

/** The parsed JSON answer. Rejects when there is none in two seconds, or its status is not 200. */
export async function askAdmin(path: string, { origin, token, method = 'GET' }: AdminAsk): Promise<unknown> {
  const { statusCode, body } = await request(new URL(path, origin), {
    method,
    headers: { 'x-penstock-admin': '1', ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
    signal: AbortSignal.timeout(timeoutMs),
    reset: true, // A connection kept would only hold the other side's listener open.
  });
  if (statusCode === 200) return body.json();
  await body.dump();
  throw new Error(`${path} answered ${statusCode}`);
}
