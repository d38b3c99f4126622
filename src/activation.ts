/** Sockets that systemd opens before it starts us (`sd_listen_fds(3)`). */
import type { Host } from "./host.ts";

/** How many descriptors from 3 upwards were handed to this very process. */
export function activatedSockets(host: Host): number {
  const { LISTEN_FDS: count, LISTEN_PID: pid } = host.env;
  if (count === undefined || pid !== String(host.pid)) return 0;
  return /^\d{1,4}$/.test(count) ? Number(count) : 0;
}
