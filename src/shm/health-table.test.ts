import { expect, test } from 'vitest';
import { Fault } from './fault.ts';
import { FleetTable } from './fleet-table.ts';
import { firstModelRow, healthRowCount, otherRow, wholeRow } from './health-record.ts';
import { type HealthTable, Probe } from './health-table.ts';
import { createSharedMemory } from './memory.ts';

const rule = { consecutiveFailures: 3, baseMs: 10_000, maxMs: 60_000 };
const rowA = firstModelRow;
const rowB = firstModelRow + 1;

interface Tables {
  readonly control: HealthTable;
  readonly first: HealthTable;
  readonly second: HealthTable;
  readonly slot: number;
}

function tables(): Tables {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 4, bufferedBytesMax: 1024 });
  const fleet = new FleetTable(memory, -1);
  fleet.claim(); // So that the slot is not 0.
  const slot = fleet.claim();
  return {
    control: fleet.health,
    first: new FleetTable(memory, 0).health,
    second: new FleetTable(memory, 1).health,
    slot,
  };
}

interface Given {
  readonly row?: number;
  readonly fault?: Fault;
  readonly probes?: number;
  readonly modelCount?: number;
  readonly mayEject?: boolean;
}

function fault(health: HealthTable, slot: number, nowMs: number, given: Given = {}): number {
  const { row = otherRow, probes = Probe.none, modelCount = 1, mayEject = true } = given;
  return health.noteFault({ slot, row, probes, nowMs, fault: given.fault ?? Fault.status, rule, modelCount, mayEject });
}

/** Three faults: the last straw. */
function eject(health: HealthTable, slot: number, nowMs: number, given: Given = {}): void {
  for (let count = 0; count < 3; count++) fault(health, slot, nowMs, given);
}

test('health-table: when three faults come in a row, from any shard, the endpoint is out for the first period', () => {
  const { control, first, second, slot } = tables();
  expect([fault(first, slot, 1050), fault(second, slot, 1050), fault(first, slot, 1050)]).toEqual([0, 0, Probe.whole]);
  expect(control.isOut(slot, rowA, 11_049)).toBe(true);
  expect(control.isOut(slot, rowA, 11_100), 'the end is rounded up to 100 ms').toBe(false);
  expect(control.view(slot, wholeRow, 2050)).toMatchObject({ reason: Fault.status, ejectedAtMs: 1000, outForMs: 9050 });
  expect(control.isOut(slot - 1, rowA, 1050), 'the neighbour').toBe(false);
});

test('health-table: when a good answer comes between faults, they are not in a row', () => {
  const { first, second, slot } = tables();
  for (let round = 0; round < 4; round++) {
    expect([fault(first, slot, 1000), fault(second, slot, 1000)]).toEqual([0, 0]);
    second.noteAnswer({ slot, row: otherRow, probes: Probe.none, nowMs: 1000 }, Fault.slow);
  }
});

test('health-table: when an answer is too short to show a pace, it does not take back that others were slow', () => {
  const { first, slot } = tables();
  const answer = { slot, row: otherRow, probes: Probe.none, nowMs: 1000 };
  for (let count = 0; count < 2; count++) {
    fault(first, slot, 1000, { fault: Fault.slow });
    first.noteAnswer(answer, Fault.empty);
  }
  expect(fault(first, slot, 1000, { fault: Fault.slow })).toBe(Probe.whole);
});

test('health-table: when an answer is of no model, it takes back what was wrong with the server, and not with its answers', () => {
  const { control, first, slot } = tables();
  const plain = { slot, row: otherRow, probes: Probe.none, nowMs: 1000 };
  for (let count = 0; count < 5; count++) {
    expect(fault(first, slot, 1000, { fault: Fault.reset })).toBe(Probe.none);
    first.noteAnswer(plain, Fault.stalled);
  }
  for (let count = 0; count < 3; count++) {
    fault(first, slot, 1000, { fault: Fault.garbage });
    first.noteAnswer(plain, Fault.stalled);
  }
  expect(control.isOut(slot, otherRow, 1000)).toBe(true);
  for (const [heals, isOnProbation] of [
    [Fault.stalled, true],
    [Fault.empty, false],
  ] as const) {
    const probes = first.tryTakeProbes(slot, otherRow, 20_000);
    first.noteAnswer({ slot, row: otherRow, probes, nowMs: 20_000 }, heals);
    first.giveProbes(slot, otherRow, probes);
    expect(control.view(slot, wholeRow, 20_000).isOnProbation).toBe(isOnProbation);
  }
});

test('health-table: when the period is over, one attempt at a time is made over all shards, until one goes well', () => {
  const { control, first, second, slot } = tables();
  eject(first, slot, 0);
  expect(control.view(slot, wholeRow, 10_000)).toMatchObject({ isOut: false, isOnProbation: true });
  expect(first.tryTakeProbes(slot, otherRow, 10_000)).toBe(Probe.whole);
  expect([second.tryTakeProbes(slot, otherRow, 10_000), first.tryTakeProbes(slot, otherRow, 10_000)]).toEqual([-1, -1]);
  expect(control.isBeingProbed(slot, otherRow)).toBe(true);
  // Its client went away: nothing is known, and the next one may try.
  first.giveProbes(slot, otherRow, Probe.whole);
  expect(second.tryTakeProbes(slot, otherRow, 11_000)).toBe(Probe.whole);
  second.noteAnswer({ slot, row: otherRow, probes: Probe.whole, nowMs: 12_000 }, Fault.slow);
  second.giveProbes(slot, otherRow, Probe.whole);
  expect(control.view(slot, wholeRow, 12_000)).toMatchObject({ isOut: false, isOnProbation: false });
  expect(first.tryTakeProbes(slot, otherRow, 12_000)).toBe(Probe.none);
});

test('health-table: when the probe fails, the endpoint is out at once for twice as long, however long it was on probation', () => {
  const { control, first, second, slot } = tables();
  eject(first, slot, 0);
  expect(fault(second, slot, 5000), 'begun before').toBe(Probe.none);
  expect(fault(second, slot, 500_000), 'begun before, and not the probe').toBe(Probe.none);
  const probes = first.tryTakeProbes(slot, otherRow, 500_000);
  expect(fault(first, slot, 500_000, { probes })).toBe(Probe.whole);
  first.giveProbes(slot, otherRow, probes);
  expect([control.isOut(slot, otherRow, 519_900), control.isOut(slot, otherRow, 520_000)]).toEqual([true, false]);
  expect(second.tryTakeProbes(slot, otherRow, 510_000), 'a look that was too early').toBe(-1);
  expect(control.isBeingProbed(slot, otherRow)).toBe(false);
});

test('health-table: when a probe is given back by another than its holder, that is a defect', () => {
  const { first, second, slot } = tables();
  eject(first, slot, 0);
  first.tryTakeProbes(slot, otherRow, 10_000);
  expect(() => second.giveProbes(slot, otherRow, Probe.whole)).toThrow('another than its holder');
  first.giveProbes(slot, otherRow, Probe.whole);
  expect(() => first.giveProbes(slot, otherRow, Probe.whole)).toThrow('another than its holder');
});

// FAULTS F35: up for a second, down for a second.
test('health-table: when an endpoint flaps, its ejections grow to the maximum although it succeeds between them', () => {
  const { first, slot } = tables();
  const periods: number[] = [];
  let nowMs = 0;
  for (let flap = 0; flap < 6; flap++) {
    eject(first, slot, nowMs);
    const start = nowMs;
    while (first.isOut(slot, otherRow, nowMs)) nowMs += 100;
    periods.push(nowMs - start);
    const probes = first.tryTakeProbes(slot, otherRow, nowMs);
    first.noteAnswer({ slot, row: otherRow, probes, nowMs }, Fault.slow);
    first.giveProbes(slot, otherRow, probes);
    nowMs += 1000;
  }
  expect(periods).toEqual([10_000, 20_000, 40_000, 60_000, 60_000, 60_000]);
});

test('health-table: when an endpoint is bad for one model of several, it is out for that model alone', () => {
  const { control, first, slot } = tables();
  const bad = { row: rowA, modelCount: 2 };
  for (let round = 0; round < 3; round++) {
    first.noteAnswer({ slot, row: rowB, probes: Probe.none, nowMs: 0 }, Fault.slow);
    expect(fault(first, slot, 0, bad)).toBe(round < 2 ? Probe.none : Probe.model);
  }
  expect([control.isOut(slot, rowA, 5000), control.isOut(slot, rowB, 5000)]).toEqual([true, false]);
  expect([control.view(slot, wholeRow, 5000).isOut, control.view(slot, rowA, 5000).isOut]).toEqual([false, true]);
  expect(first.tryTakeProbes(slot, rowB, 10_000)).toBe(Probe.none);
  const probes = first.tryTakeProbes(slot, rowA, 10_000);
  expect(probes).toBe(Probe.model);
  first.noteAnswer({ slot, row: rowA, probes, nowMs: 10_000 }, Fault.slow);
  first.giveProbes(slot, rowA, probes);
  expect(control.isDistrusted(slot, rowA)).toBe(false);
});

test('health-table: when faults in a row are of several models, or of no connection, the whole endpoint is out', () => {
  const { control, first, slot } = tables();
  fault(first, slot, 0, { row: rowA, modelCount: 2 });
  fault(first, slot, 0, { row: rowA, modelCount: 2 });
  expect(fault(first, slot, 0, { row: rowB, modelCount: 2 })).toBe(Probe.whole);
  expect(control.isOut(slot, rowB, 0)).toBe(true);
  const other = tables();
  const down = { row: rowA, modelCount: 2, fault: Fault.connect };
  expect([0, 1, 2].map(() => fault(other.first, other.slot, 0, down))).toEqual([0, 0, Probe.whole]);
});

test('health-table: when answers and faults are noted, they are counted for the model and for the endpoint', () => {
  const { control, first, second, slot } = tables();
  first.noteAnswer({ slot, row: rowA, probes: Probe.none, nowMs: 0 }, Fault.slow);
  second.noteAnswer({ slot, row: rowB, probes: Probe.none, nowMs: 0 }, Fault.slow);
  fault(first, slot, 0, { row: rowB });
  const views = [wholeRow, rowA, rowB].map((row) => control.view(slot, row, 0));
  expect(views.map(({ answers, faults }) => [answers, faults])).toEqual([
    [2, 1],
    [1, 0],
    [1, 1],
  ]);
});

test('health-table: when no more of the pool may leave, faults eject nothing', () => {
  const { control, first, slot } = tables();
  for (let count = 0; count < 9; count++) expect(fault(first, slot, 0, { mayEject: false })).toBe(Probe.none);
  expect(control.isOut(slot, otherRow, 0)).toBe(false);
});

test('health-table: when an endpoint is just back, its share grows from a tenth to all', () => {
  const { control, first, slot } = tables();
  expect(first.share(slot, rowA, 1_000_000, 10_000), 'as long as nothing happened').toBe(1);
  control.warmUp(slot, 1_000_000);
  const shares = [0, 5000, 9999, 10_000].map((ms) => first.share(slot, rowA, 1_000_000 + ms, 10_000));
  expect(shares.map((share) => Math.round(share * 100))).toEqual([10, 55, 100, 100]);
  expect(first.share(slot, rowA, 1_000_000, 0), 'switched off').toBe(1);
  first.noteProven(slot, rowB, Probe.model, 1_020_000);
  expect([first.share(slot, rowA, 1_020_000, 10_000), first.share(slot, rowB, 1_020_000, 10_000)]).toEqual([1, 0.1]);
});

test('health-table: when an endpoint accepts connections again, what is left of its period is waived, for that fault alone', () => {
  const { control, first, slot } = tables();
  eject(first, slot, 0, { fault: Fault.connect });
  expect(control.recall(slot, 1234)).toBe(true);
  expect(control.view(slot, wholeRow, 1234)).toMatchObject({ isOut: false, isOnProbation: true });
  expect(control.recall(slot, 1300), 'it is not out').toBe(false);
  const other = tables();
  eject(other.first, other.slot, 0, { fault: Fault.garbage });
  expect(other.control.recall(other.slot, 1234)).toBe(false);
});

test('health-table: when an endpoint asks to be left alone, it is, for exactly that long and without a probation', () => {
  const { control, first, second, slot } = tables();
  first.coolDown(slot, rowA, 1000, 3000);
  second.coolDown(slot, rowA, 1000, 2000);
  expect([control.outForMs(slot, rowA, 1000), control.outForMs(slot, rowB, 1000)]).toEqual([3000, 0]);
  expect(control.isOut(slot, rowA, 4000)).toBe(false);
  expect(first.tryTakeProbes(slot, rowA, 4000)).toBe(Probe.none);
});

test('health-table: when times come from two shards, they blend with alpha 0.2 in the order they came, by model and in all', () => {
  const { control, first, second, slot } = tables();
  first.noteTtft(slot, rowA, 100);
  second.noteTtft(slot, rowB, 200);
  expect([control.ttftMs(slot, rowA), control.ttftMs(slot, rowB)]).toEqual([100, 200]);
  expect(control.ttftMs(slot, wholeRow)).toBeCloseTo(120, 3);
  first.noteTokenGap(slot, rowA, false, 40);
  expect(control.view(slot, rowA, 0).tokenGapMs, 'there is no other').toBe(40);
  first.noteTokenGap(slot, rowA, true, 20);
  expect([control.tokenGapMs(slot, rowA, true), control.tokenGapMs(slot, rowB, true)]).toEqual([20, 0]);
  expect(control.view(slot, rowA, 0).tokenGapMs).toBe(20);
});

test('health-table: when another model gets the row, nothing of the one before is left, but for a probe under way', () => {
  const { control, first, slot } = tables();
  eject(first, slot, 0, { row: rowA, modelCount: 2 });
  first.noteTtft(slot, rowA, 100);
  const probes = first.tryTakeProbes(slot, rowA, 10_000);
  control.clearRow(slot, rowA);
  expect(control.view(slot, rowA, 5000)).toMatchObject({
    answers: 0,
    faults: 0,
    ttftMs: 0,
    isOut: false,
    isOnProbation: false,
  });
  first.giveProbes(slot, rowA, probes);
  expect(() => first.noteTtft(slot, healthRowCount, 1)).toThrow('row < healthRowCount');
});
