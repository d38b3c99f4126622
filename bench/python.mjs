/** A Flask application behind Headgate, and behind servers written for Python:
 * processor time is that of the whole family of processes. */
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { commandOf } from "./contenders.mjs";
import { load, timedRun } from "./load.mjs";
import { asClient, asServer, pinned } from "./place.mjs";
import { count, markdown, ratio, sumUp } from "./report.mjs";
import { enter, writeFiles } from "./throughput.mjs";
import { works } from "./works.mjs";

export const name = "python";
export const title = "a Flask application, two processes of four threads";

/** The interpreter that has Flask, and for which Debian has the peers. */
const python = ["/usr/bin/python3", "python3"].find((path) =>
  succeeds(path, ["-c", "import flask"])
);

const [hello, echo] = ["hello", "echo"].map((wanted) =>
  works.find(({ name }) => name === wanted)
);

const asked = [
  {
    ...hello,
    name: "python-hello",
    what: "GET",
    request: Buffer.from(String(hello.request).replace("GET /", "GET /hello")),
  },
  { ...echo, name: "python-echo", what: "POST of 10 KiB" },
];

const processes = 2;
const threads = 4;
const where = ["--chdir", "bench/apps"];

/** Where servers and load run. Several processes pay where a server may have
 * more than one core; the load is then in their way, and in that of all alike. */
const settings = [
  {
    cores: pinned ? "one core" : "all cores",
    server: asServer,
    client: asClient,
  },
  ...(pinned ? [{ cores: "both cores", server: [], client: [] }] : []),
];

/** The peers, with what shows whether they are installed. waitress has one
 * process, and so it has all the threads. */
const peers = [
  {
    name: "gunicorn",
    runs: [python, ["-c", "import gunicorn"]],
    command: (port) => [
      ...[python, "-m", "gunicorn", "flaskapp:app", ...where],
      ...["--worker-class", "gthread", "--bind", `127.0.0.1:${port}`],
      ...["--workers", processes, "--threads", threads],
    ],
  },
  {
    name: "waitress",
    runs: [python, ["-c", "import waitress"]],
    command: (port) => [
      ...[python, "-c", startWaitress, port, processes * threads],
    ],
  },
  {
    name: "uwsgi",
    runs: ["uwsgi", ["--version"]],
    command: (port) => [
      ...["uwsgi", "--plugins", "http,python3", ...where],
      ...["--http", `127.0.0.1:${port}`, "--http-keepalive=1"],
      ...["--module", "flaskapp:app", "--master", "--die-on-term"],
      ...["--processes", processes, "--threads", threads],
      "--disable-logging",
    ],
  },
];

const startWaitress = `
import sys
sys.path.insert(0, "bench/apps")
import waitress
from flaskapp import app
port, threads = map(int, sys.argv[1:])
waitress.serve(app, listen=f"127.0.0.1:{port}", threads=threads)
`;

function succeeds(file, args) {
  return spawnSync(file, args).status === 0;
}

export async function measure(bench) {
  if (python === undefined) {
    bench.say("Left out: no python3 here has Flask");
    return [];
  }
  const entrants = [
    ...bench.contenders.filter(({ role }) => role === "headgate")
      .map(({ runtime, name }) => ({
        name,
        server: `headgate on ${runtime}`,
        command: (port) => [
          ...commandOf(runtime),
          ...["flaskapp:app", ...where, "--python", python],
          ...["--bind", `127.0.0.1:${port}`, "--access-log", "off"],
          ...["--workers", 1, "--python-workers", processes],
          ...["--threads", threads],
        ],
      })),
    ...installedPeers(bench),
  ];
  const results = [];
  for (const setting of settings) {
    for (const work of asked) {
      results.push(...await measureWork(work, entrants, setting, bench));
    }
  }
  return results;
}

function installedPeers({ say }) {
  const found = peers.filter(({ runs: [file, args] }) => succeeds(file, args));
  const absent = peers.filter((peer) => !found.includes(peer));
  if (absent.length > 0) {
    const names = absent.map(({ name }) => name).join(", ");
    say(`Left out, not installed: ${names}`);
  }
  return found.map((peer) => ({ ...peer, server: peer.name }));
}

/** The servers take turns, one run each at a time. */
async function measureWork(work, entrants, setting, bench) {
  const { runs, warmup, seconds, connections } = bench.options;
  const files = await writeFiles(work, bench.scratch);
  const how = { ...files, connections, pin: setting.client };
  const running = [];
  try {
    for (const { name, server: label, command } of entrants) {
      const contender = {
        name,
        command: (port) => command(port).map(String),
      };
      const pin = setting.server;
      const server = await enter(contender, { work, pin, bench });
      if (server === undefined) continue;
      running.push({ name, label, server, timed: [] });
      if (warmup > 0) await load(server, { ...how, seconds: warmup });
    }
    for (let run = 0; run < runs; run++) {
      for (const { server, timed } of running) {
        timed.push(await timedRun(server, { ...how, seconds }));
      }
    }
  } finally {
    await Promise.all(running.map(({ server }) => server.stop()));
  }
  return running.map(({ name, label, timed }) => {
    const summed = sumUp(timed);
    if (summed.failures > 0) {
      bench.fault(name, `${summed.failures} failed requests`);
    }
    return {
      work: work.what,
      cores: setting.cores,
      server: label,
      ...summed,
    };
  });
}

const rivals = peers.map(({ name }) => name);

export function table(results) {
  const rows = results.map((result) => [
    `${result.work}, ${result.cores}, ${result.server}`,
    count(result.requestsPerSecond),
    `±${Math.round(result.spread * 100)} %`,
    result.cpuMicroseconds.toFixed(0),
    (result.p99Us / 1000).toFixed(1),
    ...rivals.flatMap((name) => {
      const rival = results.find(({ server, work, cores }) =>
        server === name && work === result.work && cores === result.cores &&
        server !== result.server
      );
      return [
        ratio(result.requestsPerSecond, rival?.requestsPerSecond),
        ratio(result.cpuMicroseconds, rival?.cpuMicroseconds),
      ];
    }),
  ]);
  const columns = [
    "server",
    "requests/s",
    "spread",
    "CPU µs/request",
    "p99 ms",
    ...rivals.flatMap((name) => [`of ${name}`, `CPU of ${name}`]),
  ];
  return markdown([columns, ...rows]);
}
