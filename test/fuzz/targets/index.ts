import type { FuzzTarget } from '../target.ts';
import { headRulesTarget } from './head-rules.ts';
import { multipartTarget } from './multipart.ts';
import { responseParserTarget } from './response-parser.ts';
import { scannerTarget } from './scanner.ts';
import { sseTapTarget } from './sse-tap.ts';
import { usageTarget } from './usage.ts';

export const targets: readonly FuzzTarget[] = [
  scannerTarget,
  responseParserTarget,
  sseTapTarget,
  usageTarget,
  headRulesTarget,
  multipartTarget,
];
