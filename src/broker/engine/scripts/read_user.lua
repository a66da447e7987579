-- Reads the record of a user.
-- ARGV: user.
-- Returns nil if there is none, else: version, record.

local stored = redis.call('GET', prefix .. 'user:' .. ARGV[FIRST])
if not stored then return false end
local version, length = struct.unpack('<I8I4', stored)
return { version, string.sub(stored, 13 + length) }
