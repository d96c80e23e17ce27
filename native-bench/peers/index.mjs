/** Every peer, in the order of a round and of the tables. */
import { direct } from './direct.mjs';
import { envoy } from './envoy.mjs';
import { haproxy, haproxyBody } from './haproxy.mjs';
import { nginx, nginxUnbuffered } from './nginx.mjs';
import { fastifyHttpProxy, httpProxy, portkey, undici } from './node-peers.mjs';
import { penstock, penstock2 } from './penstock.mjs';

/** @type {readonly import('../types.d.ts').Peer[]} */
export const peers = [
  direct,
  penstock,
  penstock2,
  haproxy,
  haproxyBody,
  nginx,
  nginxUnbuffered,
  envoy,
  undici,
  httpProxy,
  fastifyHttpProxy,
  portkey,
];
