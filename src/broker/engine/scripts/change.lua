-- Edits or deletes a message, and publishes the edit or the deletion.
-- ARGV: node, boot, number of the call, epoch for a new stream, maximum frames of a channel and of a user, stream, record of
-- the edit or deletion.
-- Returns: status, epoch, offset, stamp, connections.

local OK, NO_CHANNEL = '\0', '\1'
local node, boot, number, epoch = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local max_channel_frames, max_user_frames, name, record = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
local is_deletion, uuid = kind_of(record) == DELETE, uuid_of(record)

local refused = refusal(node)
if refused then return redis.status_reply(refused) end
local earlier = answered(boot, number)
if earlier then return earlier end

local function is_the_message(candidate)
  return #candidate > EDITED_END and kind_of(candidate) == MESSAGE and uuid_of(candidate) == uuid
end

local function change_history()
  local key = prefix .. 'hist:' .. name
  for i, old in ipairs(redis.call('LRANGE', key, 0, -1)) do
    if is_the_message(old) then
      if is_deletion then redis.call('LREM', key, 1, old) else redis.call('LSET', key, i - 1, edited(old, record)) end
    end
  end
end

-- What replaces an entry of the log: a deleted message leaves its place without a record, so that offsets find entries.
local function changed(old)
  if is_the_message(old) then return is_deletion and '' or edited(old, record) end
  local is_edit = #old > 0 and kind_of(old) == EDIT and uuid_of(old) == uuid
  if is_deletion and is_edit and not has(flags_of(old), IS_OF_DELETED) then
    return string.sub(old, 1, 2) .. string.char(flags_of(old) + IS_OF_DELETED) .. string.sub(old, 4)
  end
end

local function change_log()
  local key = prefix .. 'log:' .. name
  for i, entry in ipairs(redis.call('LRANGE', key, 0, -1)) do
    local after = changed(string.sub(entry, 17))
    if after then redis.call('LSET', key, i - 1, string.sub(entry, 1, 16) .. after) end
  end
end

local is_channel = string.byte(name) == 99
if is_channel and not find(name) then return keep(boot, number, NO_CHANNEL .. string.rep('\0', 28)) end
local stream = open(name, epoch, { flags = STORE_FRAMES, history = 0 })
change_history()
change_log()
local offset, stamp = append(stream, record, is_channel and max_channel_frames or max_user_frames)
save_streams()
return keep(boot, number, OK .. stream.epoch .. struct.pack('<I8I8I4', offset, stamp, stream.connections))
