import type { Answer, Filter } from './filter.ts';

/** Answers without any endpoint: a maintenance page, a robots.txt, a blocked path. */
export function staticResponseFilter(options: {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly contentType: string;
}): Filter {
  const answer: Answer = {
    status: options.status,
    headers: { 'content-type': options.contentType, ...options.headers },
    body: Buffer.from(options.body),
  };
  return { onRequestHead: () => answer };
}
