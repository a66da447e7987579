-- Edits or deletes a message, and publishes the edit or the deletion.
-- ARGV: those of once.lua, stream, record of the edit or deletion, part of a request with an idempotency key or ''.
-- Returns an answer; see message.lua.

local refused = refusal() or answered()
if refused then return refused end

local name, bytes = ARGV[FIRST_OF_NUMBERED], ARGV[FIRST_OF_NUMBERED + 1]
local is_deletion, uuid = kind_of(bytes) == DELETE, uuid_of(bytes)

local function is_the_message(candidate)
  return #candidate > EDITED_END and kind_of(candidate) == MESSAGE and uuid_of(candidate) == uuid
end

-- Returns whether the history contains what was edited.
local function change_history()
  local key, is_kept = prefix .. 'hist:' .. name, false
  for i, old in ipairs(redis.call('LRANGE', key, 0, -1)) do
    if is_the_message(old) then
      if is_deletion then
        redis.call('LREM', key, 1, old)
      else
        redis.call('LSET', key, i - 1, edited(old, bytes))
        is_kept = true
      end
    end
  end
  return is_kept
end

-- What replaces an entry of the log: a deleted message leaves its place without a record, so that offsets find entries.
local function changed(old)
  if is_the_message(old) then return is_deletion and '' or edited(old, bytes) end
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

local function change()
  local stream = open(name)
  if not stream then return NO_STREAM end
  local is_in_history = change_history()
  change_log()
  local is_in_log = append(stream, bytes)
  save_streams()
  return answer(stream, is_in_log, is_in_history)
end

return keep(publish_once(ARGV[FIRST_OF_NUMBERED + 2], change))
