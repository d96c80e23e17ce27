/** What is promised when something goes wrong: every fault by its number, and the outcome users may rely on. */
export interface Fault {
  readonly id: string;
  readonly fault: string;
  readonly promise: string;
}

export interface Family {
  readonly title: string;
  readonly faults: readonly Fault[];
}

function fault(number: number, fault: string, promise: string): Fault {
  return { id: `F${String(number).padStart(2, '0')}`, fault, promise };
}

export const families: readonly Family[] = [
  {
    title: 'Clients',
    faults: [
      fault(1, 'FIN in mid-stream', 'endpoint closed within 100 ms, settled once'),
      fault(2, 'RST in mid-stream', 'as F01'),
      fault(3, 'abort before the first byte, or in the queue', 'never sent, or no longer running; released'),
      fault(4, 'abort storm', 'no engine active within 1 s; memory back within 10 %'),
      fault(5, 'slow reader', 'at most 256 KB held, endpoint paused, cut at the write deadline'),
      fault(6, 'slowloris on the head', 'each gone within 13 s; others served'),
      fault(
        7,
        'slow body',
        '408 or close by the rate limit; memory at most what was received; no place at an endpoint taken',
      ),
      fault(8, 'connection flood from one address', 'capped by address, the rest refused early; others served'),
      fault(9, 'malformed requests, replayed', 'none reaches an endpoint; no exit; memory does not grow'),
      fault(10, 'mutated requests', 'no crash; nothing reaches an endpoint that the client did not send'),
      fault(11, 'half-closing clients', 'answered or cancelled, never paid for and unanswered'),
      fault(12, 'retry storm', 'retry budget holds; goodput at least 80 % of capacity'),
    ],
  },
  {
    title: 'The gateway itself',
    faults: [
      fault(13, 'a worker thread dies', 'its requests fail alone; restarted within 1 s'),
      fault(14, 'a shard dies', 'others accept; it is back within 1 s; what it held in shared memory is given back'),
      fault(15, 'kill -9 under load', 'serving again within 2 s'),
      fault(16, 'event loop stalls', 'detected and logged; others as usual'),
      fault(17, 'a filter that never returns', 'replaced within 2 s; the fail mode applies'),
      fault(18, 'SIGSTOP, SIGCONT', 'no time-outs en masse, nothing settled twice, health not poisoned'),
      fault(19, 'lost releases in shared memory', 'recovered within 60 s'),
      fault(20, 'wall clock jumps by an hour', 'durations do not notice'),
      fault(21, 'a filter throws', 'that request gets 500; counted; the process stays'),
      fault(22, 'reload while draining', 'the drain wins; no listener comes back'),
      fault(23, 'upgrade under load', 'no request fails; streams shorter than the drain complete'),
      fault(24, 'the new version crashes at start', 'the old one keeps serving; the exit code says so'),
    ],
  },
  {
    title: 'Endpoints',
    faults: [
      fault(25, 'connection refused', 'next endpoint, or 502/503 within 1 s; ejected after 5'),
      fault(26, 'connection goes unanswered', 'connect time-out, next endpoint'),
      fault(27, 'accepted and never answered', '504 at the first-byte deadline; connection closed'),
      fault(28, 'RST before, in and after the head', '502 before the head, a visible cut after it'),
      fault(29, 'FIN in mid-stream', 'error event and cut, never [DONE]'),
      fault(30, 'stall between tokens', 'cut with an error event; counts against the endpoint'),
      fault(31, 'a byte every 20 ms', 'no more than 50 ms added; CPU bounded'),
      fault(32, '1 of 3 dies under load', 'at most what it was serving fails; nothing after 1 s'),
      fault(33, '1 of 3 answers garbage with 200', 'ejected within 10 s'),
      fault(34, '1 of 3 is ten times slower', 'its share falls below 10 % within 10 s'),
      fault(35, 'flapping, 1 s up and 1 s down', 'ejection backs off; at most 1 % errors'),
      fault(36, 'all die, then come back', '503 with retry-after, no pile-up; full rate within 2 s'),
      fault(37, 'kept-alive connection closes at reuse', 'nothing executed twice; 200 or 502'),
      fault(38, 'bytes nobody asked for on an idle connection', 'connection dropped, no cross-talk'),
      fault(39, 'bombs of fields, interim heads, chunks', 'bounded memory, 502'),
      fault(40, 'malformed responses, replayed', 'traffic beside is error-free; none reaches a client as valid'),
      fault(41, '429 with retry-after', 'left alone exactly that long; others used'),
    ],
  },
  {
    title: 'Configuration and control',
    faults: [
      fault(42, 'reload of an invalid file', 'refused with line numbers; the old one stays'),
      fault(43, 'reloads under load', 'no request fails'),
      fault(44, 'half-written file', 'the old one stays'),
      fault(45, 'an endpoint with live streams is removed', 'streams finish; no new ones'),
      fault(
        46,
        'a certificate file unreadable, then replaced',
        'the old one until replaced, then the new one, no restart',
      ),
      fault(47, 'a tenant’s URL points inside', 'refused at load'),
    ],
  },
  {
    title: 'Exhaustion',
    faults: [
      fault(48, 'EMFILE on accept', 'no spin (CPU below 20 %); accepted ones served; recovers; admin answers'),
      fault(49, 'EMFILE on connect', '503, no hang'),
      fault(50, 'ENOSPC for the log', 'traffic goes on; dropped lines are counted'),
      fault(51, 'nobody reads the log', 'bounded memory; the data path does not stall'),
      fault(52, 'heap pressure', '503 before running out; no exit'),
      fault(53, 'cgroup memory limit', 'sheds before the limit; no exit'),
      fault(54, 'local ports exhausted', '503 for new connections; pooled ones keep working'),
      fault(55, 'CPU starvation', 'served in order; admin answers within 1 s'),
      fault(56, 'system calls that fail', 'only requests fail'),
      fault(57, 'DNS down', 'last good addresses serve; nobody else waits'),
      fault(
        58,
        'shared store down, silent, or full of garbage',
        'requests never wait for it; sharing goes on when it is back',
      ),
      fault(59, 'TLS handshake flood and garbage', 'handshake deadline; CPU share bounded; others served'),
      fault(60, 'disk full at start', 'clear error and exit code, or a full start: no half'),
    ],
  },
];

export const faults: readonly Fault[] = families.flatMap((family) => family.faults);
