-- Reads the figures of channels for lists.
-- ARGV: keys of streams.
-- Returns for each: connections, users, messages in the history, offset, stamp of the last entry, settings as JSON; nil if it is
-- missing.

local summaries = {}
for i = FIRST, #ARGV do
  local stream = find(ARGV[i])
  summaries[i - FIRST + 1] = stream and { stream.connections, stream.users,
    redis.call('LLEN', prefix .. 'hist:' .. stream.name), stream.offset, stream.stamp,
    redis.call('HGET', stream.key, 'settings') or '' } or false
end
return summaries
