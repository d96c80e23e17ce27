/** Who goes first, and who is turned away last. The order of the numbers is the order of the priorities. */
export const Priority = { low: 0, normal: 1, high: 2 } as const;
export type Priority = (typeof Priority)[keyof typeof Priority];

/** By number: label values of metrics, and what the configuration and `limits.priority_header` say. */
export const priorityNames = ['low', 'normal', 'high'] as const;

export const priorityCount = priorityNames.length;

/** Null when `text` is none. */
export function priorityFrom(text: string): Priority | null {
  const index = priorityNames.findIndex((name) => name === text);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Names stand in the order of the numbers.
  return index < 0 ? null : (index as Priority);
}
