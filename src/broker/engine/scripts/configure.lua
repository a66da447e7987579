-- Sets the settings of a channel, which begins if it is missing, and notifies the nodes.
-- ARGV: those of channel.lua.
-- Returns OK, or FULL if there would be too many channels; nothing was done then.

local refused = refusal()
if refused then return refused end

local channel = channel_at(FIRST)
local stream = open(channel.name)
if not stream then
  if is_full(1) then return status('FULL') end
  begin_channel(channel)
else
  for _, field in ipairs({ 'flags', 'history', 'frames', 'settings' }) do change(stream, field, channel[field]) end
  if not has(channel.flags, STORE_FRAMES) then
    redis.call('DEL', prefix .. 'log:' .. channel.name)
    change(stream, 'first', stream.offset + 1)
    change(stream, 'floor', stream.stamp)
  end
  send(stream, NOTE, record(SETTINGS, NO_UUID, 0, text(channel.settings)))
end
save_streams()
return OK
