-- Channels that calls begin or configure.

-- The channel of which the arguments begin at `at`: stream, id, flags, history size, frames that its log keeps (0 or one
-- more), settings as JSON, offset behind which it begins.
local ARGUMENTS = 7
local function channel_at(at)
  return { name = ARGV[at], uuid = ARGV[at + 1], flags = tonumber(ARGV[at + 2]), history = tonumber(ARGV[at + 3]),
    frames = tonumber(ARGV[at + 4]), settings = ARGV[at + 5], offset = tonumber(ARGV[at + 6]) }
end

local function begin_channel(channel)
  local stream = begin(channel.name, channel.flags, channel.history, channel.frames, channel.offset)
  change(stream, 'uuid', channel.uuid)
  change(stream, 'settings', channel.settings)
end

-- Whether there may be this many channels more.
local function is_full(more)
  return more > 0 and max_channels > 0 and redis.call('SCARD', CHANNELS) + more > max_channels
end
