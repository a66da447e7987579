-- Reads the figures of channels for lists.
-- ARGV: keys of streams.
-- Returns for each: connections, users, messages in the history, offset, stamp of the last entry, id, settings as
-- JSON; nil if it is missing.

local summaries = {}
for i = FIRST, #ARGV do
  local stream = find(ARGV[i])
  local about = stream and redis.call('HMGET', stream.key, 'uuid', 'settings')
  summaries[i - FIRST + 1] = stream and { stream.connections, stream.users,
    redis.call('LLEN', prefix .. 'hist:' .. stream.name), stream.offset, stream.stamp, about[1] or '', about[2] or '' } or false
end
return summaries
