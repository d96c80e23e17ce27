/** Edits (insert, delete, replace, swap of neighbours) between two words: optimal string alignment distance. */
function editDistance(from: string, to: string): number {
  let twoUp: number[] = [];
  let oneUp = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let best = Math.min(oneUp[column]! + 1, current[column - 1]! + 1, oneUp[column - 1]! + (same ? 0 : 1));
      if (row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]) {
        best = Math.min(best, twoUp[column - 2]! + 1);
      }
      current.push(best);
    }
    twoUp = oneUp;
    oneUp = current;
  }
  return oneUp[to.length]!;
}

/** The known name a typo most likely meant, or null when none is close. `word` longer than any real name is not compared. */
export function nearestName(word: string, known: Iterable<string>): string | null {
  if (word.length > 128) return null;
  let nearest: string | null = null;
  let nearestDistance = Infinity;
  for (const name of known) {
    const distance = editDistance(word.toLowerCase(), name.toLowerCase());
    // A third of the letters may be wrong, and one must be right: otherwise every short name would look alike.
    const limit = Math.min(Math.max(2, Math.floor(name.length / 3)), name.length - 1, word.length - 1);
    if (distance < nearestDistance && distance <= limit) {
      nearest = name;
      nearestDistance = distance;
    }
  }
  return nearest;
}

/** ` (did you mean X?)`, or nothing. */
export function suggestion(word: string, known: Iterable<string>): string {
  const nearest = nearestName(word, known);
  return nearest === null ? '' : ` (did you mean ${nearest}?)`;
}
