import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Serve = (response: ServerResponse, request: IncomingMessage) => void | Promise<void>;

/** A model server in this process whose port stays the same while it goes down and comes back. */
export class ModelServer {
  #server: Server | null = null;
  #port = 0;
  serve: Serve;
  /** Requests that came, whole. */
  count = 0;

  static async listen(serve: Serve = answerChat): Promise<ModelServer> {
    const made = new ModelServer(serve);
    await made.up();
    return made;
  }

  private constructor(serve: Serve) {
    this.serve = serve;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async up(): Promise<void> {
    const server = createServer((request, response) => {
      request.resume();
      request.on('end', () => {
        this.count++;
        void this.serve(response, request);
      });
    });
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Connections are reset, further ones refused. */
  async down(): Promise<void> {
    const server = this.#server!;
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }

  close(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }
}

/** One complete chat answer. */
export function answerChat(response: ServerResponse): void {
  const body =
    '{"choices":[{"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}';
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
}

/** A stream of `count` tokens, one each `gapMs`. */
export async function streamChat(response: ServerResponse, count: number, gapMs: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (let number = 0; number < count && !response.destroyed; number++) {
    response.write(`data: {"choices":[{"index":0,"delta":{"content":" ${number}"},"finish_reason":null}]}\n\n`);
    await new Promise((resolve) => setTimeout(resolve, gapMs));
  }
  response.end('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
}
