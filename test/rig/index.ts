/**
 * rig: what the wire tests stand on. A real shard runs in the process of the test, between a scripted client and a
 * scripted upstream that send and read exactly the bytes a test says.
 *
 * Read in this order: rig (the gateway and its books), byte-socket (one connection), raw-client, scripted-upstream,
 * message (HTTP text), role-rig (pools with roles), black-hole, until (waiting for a condition). gateway-process runs the built program instead.
 */
export { blackHole } from './black-hole.ts';
export type { BlackHole } from './black-hole.ts';
export { ByteSocket, EndedEarly } from './byte-socket.ts';
export {
  answerText,
  chatRequest,
  chunkedText,
  codeOf,
  fieldOf,
  fieldsOf,
  readBody,
  readHead,
  requestText,
} from './message.ts';
export type { Body, Head, Response } from './message.ts';
export { RawClient } from './raw-client.ts';
export { rig, Rig } from './rig.ts';
export { chatAnswer, chatBody, longPrompt, roleRig } from './role-rig.ts';
export type { RoleRigOptions } from './role-rig.ts';
export type { RigOptions } from './rig.ts';
export { ScriptedUpstream, UpstreamPeer } from './scripted-upstream.ts';
export { eventuallyWithin, turns, until } from './until.ts';
