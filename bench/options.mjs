/** The command line of the benchmark. */
import { readFlags } from "../scripts/flags.mjs";
import { contenders, kinds, missing } from "./contenders.mjs";
import * as endurance from "./endurance.mjs";
import * as idle from "./idle.mjs";
import * as python from "./python.mjs";
import * as start from "./start.mjs";
import { works } from "./works.mjs";

/** What is measured beside requests per second. */
const experiments = [idle, start, endurance, python];

const names = (items) => items.map(({ name }) => name).join(", ");

const usage = `npm run bench -- [options] [filter ...]

A filter is a work (${names(works)}),
something else to measure (${names(experiments)}; all: these and the works),
a runtime (deno, bun, node), a kind (${kinds.join(", ")}),
or a server such as deno/native. Filters of one sort add up; sorts narrow each
other. Without filters all works are measured.

  --runs N         timed runs of each server at each work (5)
  --seconds N      length of a run (2)
  --warmup N       seconds before the first run, not timed (1)
  --connections N  kept open at once (64)
  --idle N         idle connections (10000)
  --requests N     millions of requests that endurance makes (10)
  --markdown       all tables at the end, and nothing else, to standard output
  --no-build       measure dist/ as it is
`;

export function readOptions() {
  const { values, words, whole, refuse } = readFlags({
    usage,
    defaults: {
      runs: "5",
      seconds: "2",
      warmup: "1",
      connections: "64",
      idle: "10000",
      requests: "10",
    },
    switches: ["markdown", "no-build"],
  });
  return {
    runs: whole("runs", 1, 100),
    seconds: whole("seconds", 1, 60),
    warmup: whole("warmup", 0, 60),
    connections: whole("connections", 1, 1000),
    idle: whole("idle", 1, 20_000),
    requests: whole("requests", 1, 1000),
    markdown: values.markdown === true,
    build: !values["no-build"],
    ...select(words, refuse),
  };
}

/** What the filters leave to be measured, and of which contenders. `asked` are
 * the kinds and servers that were named. */
function select(filters, refuse) {
  const unknown = new Set(filters);
  const named = (items, key) => {
    const found = items.filter((item) => filters.includes(key(item)));
    for (const item of found) unknown.delete(key(item));
    return found;
  };
  let left = contenders;
  for (const key of ["runtime", "kind", "name"]) {
    const found = named(left, (contender) => contender[key]);
    if (found.length > 0) left = found;
  }
  const byName = ({ name }) => name;
  const chosen = {
    works: named(works, byName),
    experiments: named(experiments, byName),
  };
  const asked = filters.filter((filter) =>
    contenders.some(({ kind, name }) => filter === kind || filter === name)
  );
  const absent = missing.find((kind) =>
    unknown.has(kind) || unknown.has(`node/${kind}`)
  );
  if (absent !== undefined) refuse(`${absent} is not installed: ${install}`);
  if (unknown.delete("all")) Object.assign(chosen, { works, experiments });
  if (unknown.size > 0) refuse(`Unknown filter: ${[...unknown].join(", ")}`);
  if (chosen.works.length + chosen.experiments.length === 0) {
    chosen.works = works;
  }
  return { ...chosen, contenders: left, asked };
}

/** The command that installs the peers. */
export const install = "npm ci --prefix bench";
