-- Begins the channels that are missing. One of which the node knows a later offset continues behind that offset.
-- ARGV: for each channel those of channel.lua.
-- Returns OK, or FULL if there would be too many channels; nothing was done then.

local refused = refusal()
if refused then return refused end

local missing, more = {}, 0
for i = FIRST, #ARGV, ARGUMENTS do
  local channel = channel_at(i)
  if not missing[channel.name] and not find(channel.name) then missing[channel.name], more = true, more + 1 end
end
if is_full(more) then return status('FULL') end
for i = FIRST, #ARGV, ARGUMENTS do
  local channel = channel_at(i)
  local stream = open(channel.name)
  if stream then
    -- The operator's rules may have changed since the channel began. They are not part of its settings.
    if stream.frames ~= channel.frames then change(stream, 'frames', channel.frames) end
    raise_offset(stream, channel.offset)
  else
    begin_channel(channel)
  end
end
save_streams()
return OK
