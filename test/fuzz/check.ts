import fc from 'fast-check';

/** The same inputs on every run; another seed by FUZZ_SEED. A failure prints it, and the path to the smallest input. */
export const seed = Number(process.env['FUZZ_SEED'] ?? 9112);

export function check<Values>(property: fc.IProperty<Values>, numRuns: number): void {
  fc.assert(property, { seed, numRuns });
}

export async function checkAsync<Values>(property: fc.IAsyncProperty<Values>, numRuns: number): Promise<void> {
  await fc.assert(property, { seed, numRuns });
}
