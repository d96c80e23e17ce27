/** Loaded before Portkey's gateway, which listens on every address: here it listens on loopback only. */
import { Server } from 'node:net';

const listen = Reflect.get(Server.prototype, 'listen');
Server.prototype.listen = function listenOnLoopback(/** @type {any[]} */ ...args) {
  const port = Number(typeof args[0] === 'object' ? args[0].port : args[0]);
  const onListening = args.find((value) => typeof value === 'function');
  return Reflect.apply(listen, this, [{ port, host: '127.0.0.1', backlog: 4096 }, onListening]);
};
