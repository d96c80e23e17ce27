import type { FaultRow, MissingRow } from './row.ts';
import { clientRows } from './rows/client.ts';
import { configRows } from './rows/config.ts';
import { endpointRows } from './rows/endpoint.ts';
import { exhaustionRows } from './rows/exhaustion.ts';
import { gatewayRows } from './rows/gateway.ts';

export const rows: readonly FaultRow[] = [
  ...clientRows,
  ...gatewayRows,
  ...endpointRows,
  ...configRows,
  ...exhaustionRows,
];

/** Faults of what the product does not have: listed, never passed. */
export const missingRows: readonly MissingRow[] = [
  { id: 'F47', needs: 'tenants with URLs of their own' },
  { id: 'F58', needs: 'a shared store' },
];
