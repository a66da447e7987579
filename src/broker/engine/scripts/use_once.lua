-- Uses something that is valid once, such as a signature.
-- ARGV: its name.
-- Returns 1, or 0 if it has been used before.

-- Signatures are valid for 60 s before and after their time.
local KEPT_S = 120
return redis.call('SET', prefix .. 'once:' .. ARGV[FIRST], '1', 'NX', 'EX', KEPT_S) and 1 or 0
