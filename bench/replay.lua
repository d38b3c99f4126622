-- wrk sends the bytes of the file that BENCH_REQUEST names, again and again,
-- and prints what it counted on one line. Replacing `wrk.format` rather than
-- defining `request` keeps wrk on its fast path: the bytes are made once.

local file = assert(io.open(os.getenv("BENCH_REQUEST"), "rb"))
local bytes = file:read("*a")
file:close()

wrk.format = function() return bytes end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nCOUNTED {"requests":%d,"elapsedUs":%d,"bytes":%d,"refused":%d,' ..
    '"failures":%d,"p50Us":%d,"p99Us":%d}\n',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
