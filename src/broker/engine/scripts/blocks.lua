-- Reads a part of the blocks.
-- ARGV: cursor, which is '0' at first.
-- Returns: cursor of the next part or '0', then user and record of each block. A block may come twice.

return redis.call('HSCAN', BLOCKS, ARGV[FIRST], 'COUNT', 1000)
