/**
 * The scenarios in their order. Each has a name, a title, the peers that it can
 * be tried on, and `measure(stage)`, which gives `checks`: what was found
 * (`what`, `figure`, `detail`), the `goal`, and whether it was `met`; undefined
 * where there is none. The rest of what it gives is kept for the report.
 *
 * A stage is what a scenario works with: `options`, `commands` of the program,
 * `scratch`, a folder, and `start()`, which gives a `Program` that serves.
 */
import * as boot from "./scenarios/boot.mjs";
import * as kill from "./scenarios/kill.mjs";
import { reload, restart, scale, term, usr2 } from "./scenarios/lifecycle.mjs";
import * as proof from "./scenarios/proof.mjs";
import * as silent from "./scenarios/silent.mjs";
import * as spread from "./scenarios/spread.mjs";
import * as stop from "./scenarios/stop.mjs";
import * as throughput from "./scenarios/throughput.mjs";

export const scenarios = [
  proof,
  reload,
  scale,
  usr2,
  restart,
  term,
  kill,
  stop,
  silent,
  throughput,
  spread,
  boot,
];
