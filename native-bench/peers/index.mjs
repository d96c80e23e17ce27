/** Every peer, in the order of a round and of the tables. */
import { direct } from './direct.mjs';
import { envoy } from './envoy.mjs';
import { haproxy, haproxy2, haproxyBody } from './haproxy.mjs';
import { nginx, nginxUnbuffered, nginxUnbuffered2 } from './nginx.mjs';
import { fastifyHttpProxy, httpProxy, portkey, undici } from './node-peers.mjs';
import { penstock, penstock2 } from './penstock.mjs';

/** @type {readonly import('../types.d.ts').Peer[]} */
export const peers = [
  direct,
  penstock,
  penstock2,
  haproxy,
  haproxy2,
  haproxyBody,
  nginx,
  nginxUnbuffered,
  nginxUnbuffered2,
  envoy,
  undici,
  httpProxy,
  fastifyHttpProxy,
  portkey,
];
