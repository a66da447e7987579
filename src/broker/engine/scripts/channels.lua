-- Reads a part of the names of channels.
-- ARGV: cursor, which is '0' at first.
-- Returns: cursor of the next part or '0', then keys of streams. A key may come twice.

return redis.call('SSCAN', CHANNELS, ARGV[FIRST], 'COUNT', 500)
