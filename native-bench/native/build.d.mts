/** Paths of both programs, compiled when that is needed. Throws when they cannot be. */
export declare function buildNative(folder?: string): { engine: string; load: string };
