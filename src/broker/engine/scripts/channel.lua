-- Channels that calls begin or configure.

-- The channel of which the arguments begin at `at`: stream, id, flags, history size, settings as JSON, offset behind which
-- it begins.
local ARGUMENTS = 6
local function channel_at(at)
  return { name = ARGV[at], uuid = ARGV[at + 1], flags = tonumber(ARGV[at + 2]), history = tonumber(ARGV[at + 3]),
    settings = ARGV[at + 4], offset = tonumber(ARGV[at + 5]) }
end

local function begin_channel(channel)
  local stream = begin(channel.name, channel.flags, channel.history, channel.offset)
  change(stream, 'uuid', channel.uuid)
  change(stream, 'settings', channel.settings)
end

-- Whether there may be this many channels more.
local function is_full(more)
  return more > 0 and max_channels > 0 and redis.call('SCARD', CHANNELS) + more > max_channels
end
