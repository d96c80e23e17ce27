/** Every scenario, in the order in which they are listed; each is one file beside this one. */
import { abortStorm } from './abort-storm.mjs';
import { burst } from './burst.mjs';
import { chat3kb } from './chat-3kb.mjs';
import { chat3mb } from './chat-3mb.mjs';
import { engineOverload } from './engine-overload.mjs';
import { longStream } from './long-stream.mjs';
import { mixed } from './mixed.mjs';
import { overload } from './overload.mjs';
import { response3mb } from './response-3mb.mjs';
import { slowReaders } from './slow-readers.mjs';
import { stream } from './stream.mjs';

/** @type {readonly import('../types.d.ts').Scenario[]} */
export const scenarios = [
  chat3kb,
  chat3mb,
  response3mb,
  stream,
  longStream,
  mixed,
  abortStorm,
  slowReaders,
  burst,
  overload,
  engineOverload,
];
