-- The parts of a record that scripts read; src/broker/engine/record.rs describes all of it.

local MESSAGE, EDIT, DELETE, JOINED, PARTED = 1, 2, 3, 4, 5
local NO_HISTORY, HAS_TIMESTAMP, IS_OF_DELETED = 1, 2, 4
local ABSENT = 4294967295
-- Version, kind and flags; the uuid up to here; two times up to here.
local UUID_END, TIMESTAMP_END, EDITED_END = 19, 27, 35

local function kind_of(record) return string.byte(record, 2) end
local function flags_of(record) return string.byte(record, 3) end
local function uuid_of(record) return string.sub(record, 4, UUID_END) end

-- The fields behind the head, each with its length in front.
local function fields_of(record)
  local fields, at = {}, EDITED_END + 1
  while at + 3 <= #record do
    local length = struct.unpack('<I4', record, at)
    local last = at + 3 + (length == ABSENT and 0 or length)
    table.insert(fields, string.sub(record, at, last))
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
