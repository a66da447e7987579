-- Records of messages, edits and deletions.

local NO_HISTORY, HAS_TIMESTAMP, IS_OF_DELETED = 1, 2, 4
local ABSENT = 4294967295
-- Version, kind and flags; the uuid up to here; two times up to here.
local UUID_END, TIMESTAMP_END, EDITED_END = 19, 29, 39
-- What an answer begins with, answers without a place, and the end of one that no earlier request caused.
local PUBLISHED, NO_STREAM, KEY_REUSED, NO_TIME = '\0', '\1' .. ('\0'):rep(29), '\2' .. ('\0'):rep(37), ('\0'):rep(8)
local IN_LOG, IN_HISTORY = 1, 2

local function kind_of(bytes) return string.byte(bytes, 2) end
local function flags_of(bytes) return string.byte(bytes, 3) end
local function uuid_of(bytes) return string.sub(bytes, 4, UUID_END) end

-- The fields behind the head, each with its length in front.
local function fields_of(bytes)
  local fields, at = {}, EDITED_END + 1
  while at + 3 <= #bytes do
    local length = struct.unpack('<I4', bytes, at)
    local last = at + 3 + (length == ABSENT and 0 or length)
    table.insert(fields, string.sub(bytes, at, last))
    at = last + 1
  end
  return fields
end

-- A message with an edit applied. The user and the content are replaced if the edit has them; the audience stays.
local function edited(message, edit)
  local times = has(flags_of(edit), HAS_TIMESTAMP) and edit or message
  local old, new, absent = fields_of(message), fields_of(edit), struct.pack('<I4', ABSENT)
  for i = 1, 2 do
    if new[i] ~= absent then old[i] = new[i] end
  end
  return string.sub(message, 1, UUID_END) .. string.sub(times, UUID_END + 1, TIMESTAMP_END)
    .. string.sub(edit, TIMESTAMP_END + 1, EDITED_END) .. table.concat(old)
end

-- Status, where the item is kept, epoch, offset, stamp, connections. `publish_once` adds a time; entry.rs reads it.
local function answer(stream, is_in_log, is_in_history)
  local kept = (is_in_log and IN_LOG or 0) + (is_in_history and IN_HISTORY or 0)
  return PUBLISHED .. string.char(kept) .. stream.epoch
    .. struct.pack('<I8I8I4', stream.offset, stream.stamp, stream.connections)
end
