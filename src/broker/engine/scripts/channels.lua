-- Reads a part of the names of channels.
-- ARGV: cursor, which is '0' at first.
-- Returns: cursor of the next part or '0', then keys of streams. A key may come twice.

local scanned = redis.call('SSCAN', prefix .. 'channels', ARGV[FIRST], 'COUNT', 500)
return { scanned[1], scanned[2] }
