#!/usr/bin/env node
/** The `penstock` program: see cli/dispatch.ts for the commands. */
import { dispatch } from './cli/dispatch.ts';
import { terminal } from './cli/output.ts';

process.exitCode = await dispatch(process.argv.slice(2), terminal);
