/** Waits for the kernel's sockets with epoll(7), for all connections of the
 * process at once. */
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLET,
  EPOLLIN,
  type LinuxSockets,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  systemError,
} from "./linux_sockets.ts";

/** A socket that is watched. */
export interface Watched {
  /** Its descriptor. */
  readonly fd: number;
  /** Called with EPOLLIN and the like, in the turn in which they were told. It
   * may be called for nothing. What it throws is the program's to catch, as if
   * it were thrown in a turn of its own: the others are watched on. */
  ready(events: number): void;
}

/** While Deno starts, only the thread is used: turns of the event loop would
 * have Deno load Node's timers, before the first answer. */
const startMs = 2000;

/** How many events are taken at a time. */
const batch = 256;

/** Watches sockets while there are any, and keeps the program alive as long.
 *
 * While there is work it asks the kernel what is ready, without waiting, and
 * lets the event loop turn between. Where nothing is ready a thread waits, in
 * which the kernel wakes it: that costs some microseconds, but only a server
 * that has nothing else to do pays them. */
export class Epoll {
  readonly #sockets: LinuxSockets;
  /** By descriptor. */
  readonly #watched: (Watched | undefined)[] = [];
  #count = 0;
  /** Which registration of a descriptor an event is about, which epoll tells
   * us back: a number is used again as soon as it is closed. */
  readonly #serials: number[] = [];
  #serial = 0;
  #epoll = -1;
  /** Ends the wait of the thread. */
  #wakeUp = -1;
  readonly #event: Uint32Array;
  readonly #events: Uint32Array;

  constructor(sockets: LinuxSockets) {
    this.#sockets = sockets;
    this.#event = new Uint32Array(sockets.event.size);
    this.#events = new Uint32Array(batch * sockets.event.size);
  }

  /** Has `socket.ready()` called on `events`. Throws what the kernel says. */
  add(socket: Watched, events: number): void {
    if (this.#epoll < 0) this.#start();
    const { fd } = socket;
    const serial = this.#serial = (this.#serial + 1) >>> 0;
    if (this.#control(EPOLL_CTL_ADD, fd, serial, events) < 0) {
      throw systemError(this.#sockets.errno());
    }
    this.#serials[fd] = serial;
    this.#watched[fd] = socket;
    this.#count++;
  }

  /** Has `socket.ready()` called on other events from now on. */
  change(socket: Watched, events: number): void {
    const { fd } = socket;
    if (this.#watched[fd] !== socket) return;
    this.#control(EPOLL_CTL_MOD, fd, this.#serials[fd]!, events);
  }

  /** Stops watching; to be called before the descriptor is closed. */
  remove(socket: Watched): void {
    const { fd } = socket;
    if (this.#watched[fd] !== socket) return;
    this.#watched[fd] = undefined;
    this.#count--;
    // Somebody else may have the socket open too, and would keep it watched.
    this.#sockets.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, fd, this.#event);
    if (this.#count === 0) this.#sockets.eventfd_write(this.#wakeUp, 1n);
  }

  #control(
    operation: number,
    fd: number,
    serial: number,
    events: number,
  ): number {
    const { data } = this.#sockets.event;
    this.#event[0] = events;
    this.#event[data] = fd;
    this.#event[data + 1] = serial;
    return this.#sockets.epoll_ctl(this.#epoll, operation, fd, this.#event);
  }

  #start(): void {
    const { epoll_create1, eventfd, errno } = this.#sockets;
    const epoll = epoll_create1(SOCK_CLOEXEC);
    if (epoll < 0) throw systemError(errno());
    const wakeUp = eventfd(0, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (wakeUp < 0) {
      const failure = systemError(errno());
      this.#sockets.close(epoll);
      throw failure;
    }
    this.#epoll = epoll;
    this.#wakeUp = wakeUp;
    // It is told once each time that it is written, and read never.
    if (this.#control(EPOLL_CTL_ADD, wakeUp, 0, EPOLLIN | EPOLLET) < 0) {
      const failure = systemError(errno());
      this.#end();
      throw failure;
    }
    this.#run();
  }

  #end(): void {
    this.#sockets.close(this.#epoll);
    this.#sockets.close(this.#wakeUp);
    this.#epoll = -1;
  }

  async #run(): Promise<void> {
    await undefined; // whoever has started us is about to watch something
    while (this.#count > 0) {
      const count = await this.#next();
      for (let i = 0; i < count; i++) this.#tell(i);
    }
    this.#end();
  }

  /** How many events there are. The event loop has turned before. */
  async #next(): Promise<number> {
    if (performance.now() < startMs) return this.#wait();
    await turn();
    const { epoll_wait } = this.#sockets;
    return epoll_wait(this.#epoll, this.#events, batch, 0) || this.#wait();
  }

  #wait(): Promise<number> {
    return this.#sockets.wait(this.#epoll, this.#events, batch, -1);
  }

  /** Passes on the event at a place, unless it is about a socket that has been
   * closed since. */
  #tell(i: number): void {
    const { size, data } = this.#sockets.event;
    const at = i * size;
    const fd = this.#events[at + data]!;
    if (this.#events[at + data + 1] !== this.#serials[fd]) return;
    try {
      this.#watched[fd]?.ready(this.#events[at]!);
    } catch (error) {
      throwInOwnTurn(error);
    }
  }
}

/** It is an uncaught one, and ends the program unless that wants otherwise; but
 * it must not end the loop in which it happened. */
export function throwInOwnTurn(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/** Resolves when the event loop has looked after everybody else. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
