/** The command line of the soak. */
import { readFlags } from "../scripts/flags.mjs";
import { peers, runtimes } from "./programs.mjs";
import { scenarios } from "./scenarios.mjs";

const width = Math.max(...scenarios.map(({ name }) => name.length)) + 2;

const usage = `npm run soak -- [options] [scenario ...] [program ...]

Scenarios:
${
  scenarios.map(({ name, title }) => `  ${name.padEnd(width)}${title}`)
    .join("\n")
}

Programs: Headgate on ${runtimes.join(", ")}; beside it ${peers.join(" and ")}.
Without a scenario all are run. Without a program Headgate is soaked on all
runtimes, and its peers take part in boot where they are installed.

  --seconds N      how long there is load in a scenario (20)
  --workers N      how many serve (4)
  --json FILE      everything that was counted, as JSON
  --gunicorn PATH  the peers' programs (gunicorn and pm2, as PATH finds them)
  --pm2 PATH
  --no-build       run dist/ as it is
`;

export function readOptions() {
  const { values, words, whole, refuse } = readFlags({
    usage,
    defaults: {
      seconds: "20",
      workers: "4",
      json: undefined,
      gunicorn: "gunicorn",
      pm2: "pm2",
    },
    switches: ["no-build"],
  });
  return {
    options: {
      seconds: whole("seconds", 5, 3600),
      workers: whole("workers", 2, 64),
    },
    json: values.json,
    paths: { gunicorn: values.gunicorn, pm2: values.pm2 },
    build: !values["no-build"],
    ...select(words, refuse),
  };
}

/** What is run, on what. `asked` are the peers that were named. */
function select(words, refuse) {
  const known = [...scenarios.map(({ name }) => name), ...runtimes, ...peers];
  const unknown = words.filter((word) => !known.includes(word));
  if (unknown.length > 0) refuse(`Neither, nor: ${unknown.join(", ")}`);
  const chosen = scenarios.filter(({ name }) => words.includes(name));
  const named = [...runtimes, ...peers].filter((name) => words.includes(name));
  return {
    chosen: chosen.length > 0 ? chosen : scenarios,
    programs: named.length > 0 ? named : [...runtimes, ...peers],
    asked: named,
  };
}
