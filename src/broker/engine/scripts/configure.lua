-- Sets the settings of a channel, and publishes them to the nodes.
-- ARGV: node, epoch for a new channel, maximum frames, stream, flags, history size, record.

local node, epoch, max_frames, name, record = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[7]
local settings = { flags = tonumber(ARGV[5]), history = tonumber(ARGV[6]) }

local refused = refusal(node)
if refused then return redis.status_reply(refused) end

local stream = open(name, epoch, settings)
stream.flags, stream.history = settings.flags, settings.history
if not has(stream.flags, STORE_FRAMES) then redis.call('DEL', prefix .. 'log:' .. name) end
append(stream, record, max_frames)
save_streams()
return redis.status_reply('OK')
