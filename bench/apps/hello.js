/** The least WSGI application, for the time that a start takes. */
const hello = new TextEncoder().encode("Hello, World!");

export function app(_environ, startResponse) {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [hello];
}
