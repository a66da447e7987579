-- Reads the record of a user.
-- ARGV: user.
-- Returns nil if there is none, else: version, record.

return stored_user(redis.call('GET', prefix .. 'user:' .. ARGV[FIRST]))
