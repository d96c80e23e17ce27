import { expect, test } from 'vitest';
import { parseSimCommand, simFlags, simHelp } from './cli.ts';

test('cli: when flags are given, they become options and faults', () => {
  const argv =
    '--port 8001 --name a --model m --model n --speed 0 --kv-blocks 64 --fault no_done --fault stall=0.5,ms=9';
  expect(parseSimCommand(argv.split(' '))).toEqual({
    isHelp: false,
    options: { port: 8001, name: 'a', models: ['m', 'n'], speed: 0, kvBlocks: 64 },
    faults: { no_done: { rate: 1 }, stall: { rate: 0.5, ms: 9 } },
  });
});

test('cli: when an engine has a role, it is an option', () => {
  const { options } = parseSimCommand('--role decode --transfer sglang --transfer-lease-ms 500'.split(' '));
  expect(options).toEqual({ role: 'decode', transfer: 'sglang', transferLeaseMs: 500 });
});

test('cli: when KV events are wanted, they are published where and how the flags say', () => {
  const argv =
    '--kv-events tcp://127.0.0.1:5557 --kv-events-replay tcp://127.0.0.1:5558 --kv-events-topic kv@ --kv-events-form array';
  expect(parseSimCommand(argv.split(' ')).options).toEqual({
    kvEvents: 'tcp://127.0.0.1:5557',
    kvEventsReplay: 'tcp://127.0.0.1:5558',
    kvEventsTopic: 'kv@',
    kvEventsForm: 'array',
  });
  expect(() => parseSimCommand(['--kv-events-form', 'xml'])).toThrow('must be one of map, array');
});

test('cli: when a flag is wrong, the message names it', () => {
  expect(() => parseSimCommand(['--port', 'x'])).toThrow('--port must be a number, not x');
  expect(() => parseSimCommand(['--nope'])).toThrow('--nope');
  expect(() => parseSimCommand(['--role', 'none'])).toThrow('--role must be one of both, prefill, decode, not none');
  expect(() => parseSimCommand(['--transfer', 'nixl'])).toThrow('--transfer must be one of none, vllm, sglang');
  expect(() => parseSimCommand(['--fault', 'nope=1'])).toThrow('unknown fault nope');
});

test('cli: when help is shown, every flag is in it', () => {
  for (const flag of Object.keys(simFlags)) if (flag !== 'help') expect(simHelp).toContain(`--${flag} `);
});
