-- Reads a part of the blocks.
-- ARGV: cursor, which is '0' at first.
-- Returns: cursor of the next part or '0', then user and record of each block. A block may come twice.

local scanned = redis.call('HSCAN', prefix .. 'blocks', ARGV[FIRST], 'COUNT', 1000)
return { scanned[1], scanned[2] }
