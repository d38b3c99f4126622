/** How a process of ours learns what it is. */

/** The variable that makes this program an arbiter or a worker: a `Role` as
 * JSON. It is taken out of the environment as soon as it was read. */
export const roleVariable = "HEADGATE_PROCESS";
