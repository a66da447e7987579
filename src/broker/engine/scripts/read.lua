-- Reads a stream, or its part behind an offset.
-- ARGV: stream, offset, maximum bytes of entries, '1' for the history, '1' for the members.
-- Returns nil for an unknown stream, else what snapshot.lua describes.

local stream = find(ARGV[FIRST])
if not stream then return false end
return snapshot(stream, tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2]), ARGV[FIRST + 3] == '1', ARGV[FIRST + 4] == '1')
