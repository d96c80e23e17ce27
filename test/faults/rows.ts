import type { FaultRow, MissingRow } from './row.ts';
import { clientRows } from './rows/client.ts';
import { configRows } from './rows/config.ts';
import { endpointRows } from './rows/endpoint.ts';
import { exhaustionRows } from './rows/exhaustion.ts';
import { gatewayRows } from './rows/gateway.ts';
import { sharingRows } from './rows/sharing.ts';

export const rows: readonly FaultRow[] = [
  ...clientRows,
  ...gatewayRows,
  ...endpointRows,
  ...configRows,
  ...exhaustionRows,
  ...sharingRows,
];

/** Faults of what the product does not have: listed, never passed. */
export const missingRows: readonly MissingRow[] = [{ id: 'F47', needs: 'tenants with URLs of their own' }];
