/** A kernel of our own, whose sockets do what a test tells them to: on every
 * runtime, and also what real ones do once in a blue moon. */
import {
  AF_INET,
  EAGAIN,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  type LinuxSockets,
  MSG_PEEK,
  shownSocketAddress,
} from "../../adapters/linux_sockets.ts";
import { only } from "../support/only.ts";

/** What a descriptor is watched for, and what epoll tells back. */
interface Registration {
  readonly fd: number;
  readonly events: number;
  readonly data: number;
  readonly serial: number;
}

/** Calls that only fail or succeed. */
export type FallibleCall =
  | "bind"
  | "connect"
  | "create"
  | "ctl"
  | "eventfd"
  | "listen"
  | "socket"
  | "wait";

/** What one call comes to: bytes, or how many were taken; or why it failed,
 * as a negative number. */
export type Result = Uint8Array | number;

/** Socket calls whose results are told in advance. */
export class FakeKernel {
  /** What the code under test is to be given. */
  readonly sockets: LinuxSockets;
  /** The calls that leave a mark, in order: "close 5", "shutdown 5 1". */
  readonly calls: string[] = [];
  /** What `recv()` comes to, by descriptor; EAGAIN when there is no more. */
  readonly input: Map<number, Result[]> = new Map();
  /** What `send()` comes to; when there is no more, all is taken. */
  readonly sends: Map<number, number[]> = new Map();
  /** How often `recv()` was called, but for a peek. */
  receives = 0;
  /** How often `epoll_wait()` was called without waiting. */
  polls = 0;
  /** What was sent. */
  readonly sent: string[] = [];
  /** What `accept4()` comes to; EAGAIN when there is no more. */
  readonly accepts: number[] = [];
  /** What the next calls come to; when there is no more, they succeed. */
  readonly failures: Record<FallibleCall, number[]> = {
    bind: [],
    listen: [],
    connect: [],
    socket: [],
    wait: [],
    ctl: [],
    create: [],
    eventfd: [],
  };
  /** Called with the path, or host, that a socket is bound to. */
  onBind: (path: string) => void = () => {};
  /** What epolls and eventfds are open. */
  readonly open: Set<number> = new Set();

  #errno = 0;
  #nextFd = 1000;
  #nextSocket = 5;
  readonly #watched = new Map<number, Registration>();
  readonly #events: [Registration, number][] = [];
  #wakeUp: { fill: () => void } | null = null;

  constructor() {
    this.sockets = only<LinuxSockets>({
      event: { size: 4, data: 2 },
      errno: () => this.#errno,
      socket: () => this.#attempt("socket") || this.#nextSocket++,
      bind: (_, address, length) => {
        this.onBind(shownSocketAddress(address, length).host);
        return this.#attempt("bind");
      },
      connect: () => this.#attempt("connect"),
      epoll_create1: () => this.#attempt("create") || this.#open(),
      eventfd: () => this.#attempt("eventfd") || this.#open(),
      eventfd_write: (fd) => {
        this.emit(fd, 1);
        return 0;
      },
      epoll_ctl: (_, operation, fd, event) =>
        this.#control(
          operation,
          fd,
          event,
        ),
      epoll_wait: (_, events, most) => {
        this.polls++;
        return this.#attempt("wait") || this.#take(events, most);
      },
      wait: (_, events, most) =>
        new Promise((resolve) => {
          const fill = () => {
            this.#wakeUp = null;
            resolve(this.#take(events, most));
          };
          if (this.#events.length > 0) fill();
          else this.#wakeUp = { fill };
        }),
      recv: (fd, memory, size, flags) => this.#receive(fd, memory, size, flags),
      send: (fd, bytes, size) => this.#send(fd, bytes, size),
      accept4: (fd) => {
        if (this.calls.includes(`close ${fd}`)) throw new Error("It is closed");
        return this.#result(this.accepts.shift() ?? -EAGAIN);
      },
      getsockname: (fd, address, length) => {
        this.calls.push(`getsockname ${fd}`);
        address.fill(0).set([AF_INET, 0, 0, 80, 192, 0, 2, fd & 0xff]);
        length[0] = 16;
        return 0;
      },
      setsockopt: () => 0,
      ioctl: (fd) => this.#call("ioctl", fd),
      listen: () => this.#attempt("listen"),
      shutdown: (fd, how) => this.#call("shutdown", fd, how),
      close: (fd) => {
        this.open.delete(fd);
        return this.#call("close", fd);
      },
    });
  }

  /** What a descriptor is watched for; undefined when it is not. */
  watched(fd: number): number | undefined {
    return this.#watched.get(fd)?.events;
  }

  /** Has epoll tell `events` of what `fd` is registered as now, unless nobody
   * watches it. */
  emit(fd: number, events: number): void {
    const registration = this.#watched.get(fd);
    if (registration === undefined) return;
    this.#events.push([registration, events]);
    // All of a turn come in one batch.
    queueMicrotask(() => this.#wakeUp?.fill());
  }

  /** Something arrives, and epoll tells. */
  arrive(fd: number, events: number, ...results: Result[]): void {
    this.input.set(fd, [...this.input.get(fd) ?? [], ...results]);
    this.emit(fd, events);
  }

  #open(): number {
    const fd = this.#nextFd++;
    this.open.add(fd);
    return fd;
  }

  #call(name: string, ...args: number[]): number {
    this.calls.push(`${name} ${args.join(" ")}`);
    return 0;
  }

  #attempt(call: FallibleCall): number {
    return this.#result(this.failures[call].shift() ?? 0);
  }

  #result(result: number): number {
    if (result >= 0) return result;
    this.#errno = -result;
    return -1;
  }

  #control(operation: number, fd: number, event: Uint32Array): number {
    if (operation === EPOLL_CTL_DEL) {
      this.#watched.delete(fd);
      return 0;
    }
    if (this.#attempt("ctl") < 0) return -1;
    if (operation === EPOLL_CTL_ADD && this.#watched.has(fd)) {
      throw new Error(`Descriptor ${fd} is watched already`);
    }
    const [events = 0, , data = 0, serial = 0] = event;
    this.#watched.set(fd, { fd, events, data, serial });
    return 0;
  }

  #take(events: Uint32Array, most: number): number {
    const batch = this.#events.splice(0, most);
    batch.forEach(([{ data, serial }, told], i) => {
      events.set([told, 0, data, serial], 4 * i);
    });
    return batch.length;
  }

  #receive(
    fd: number,
    memory: Uint8Array,
    size: bigint,
    flags: number,
  ): number {
    const peeks = (flags & MSG_PEEK) !== 0;
    if (!peeks) this.receives++;
    const results = this.input.get(fd) ?? [];
    const [result = -EAGAIN] = results;
    if (typeof result === "number") {
      // The kernel tells a failure once, and an end for ever.
      if (result < 0) results.shift();
      return this.#result(result);
    }
    const taken = result.subarray(0, Number(size));
    memory.set(taken);
    if (!peeks) {
      results.shift();
      if (taken.length < result.length) {
        results.unshift(result.subarray(taken.length));
      }
    }
    return taken.length;
  }

  #send(fd: number, bytes: Uint8Array, size: bigint): number {
    const told = this.sends.get(fd)?.shift() ?? Number(size);
    const count = this.#result(Math.min(told, Number(size)));
    if (count > 0) {
      this.sent.push(new TextDecoder().decode(bytes.subarray(0, count)));
    }
    return count;
  }
}
