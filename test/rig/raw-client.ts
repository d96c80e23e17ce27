import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ByteSocket } from './byte-socket.ts';
import { readResponse, type Response } from './message.ts';

/** A client that says exactly what it is told to, in the segments it is told to. */
export class RawClient extends ByteSocket {
  static async connect(port: number): Promise<RawClient> {
    const socket: Socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  response(isHead = false): Promise<Response> {
    return readResponse(this, isHead);
  }

  /** Sends `request` and reads its response. */
  ask(request: string | Uint8Array, isHead = false): Promise<Response> {
    this.send(request);
    return this.response(isHead);
  }
}
