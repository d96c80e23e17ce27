/** Entry point of a worker thread: piscina calls the function a job names. Nothing here outlives a job but the scratch. */
import type { Job, JsonCheck, TokenCount } from './job.ts';
import * as jobs from './jobs.ts';
import { Scratch } from './scratch.ts';

const scratch = new Scratch();

export function countPromptTokens(job: Job): TokenCount {
  return jobs.countPromptTokens(scratch.assemble(job));
}

export function checkJson(job: Job): JsonCheck {
  return jobs.checkJson(scratch.assemble(job));
}
