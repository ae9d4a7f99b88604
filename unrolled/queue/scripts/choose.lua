-- Choose the shard that is computed next: the one whose rank is lowest. A message only says that some shard waits; `hint`
-- is the shard that it names, which is chosen where it waits without a rank, because a key was lost.
-- The arguments from the third on are job keys, whose shards aren't chosen.
-- The chosen shard is due for a new message if its worker doesn't claim it within a lease.
-- Return its member; the hint if no shard waits; nil if only shards of those jobs wait.
local ledger, leases, order, ranks, later = unpack(KEYS)
local hint, lease_seconds = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local excluded = {}
for place = 3, #ARGV do excluded[ARGV[place]] = true end

local function is_excluded(member) return excluded[string.match(member, '^[^/]*')] end

local function waits(member)
  if not redis.call('ZSCORE', ledger, member) then return false end
  local expiry = redis.call('ZSCORE', leases, member)
  return not expiry or tonumber(expiry) <= now
end

local chosen, left_out = hint, false
if not waits(hint) or redis.call('ZSCORE', order, hint) or redis.call('ZSCORE', later, hint) then
  -- Members that don't wait are rare: their job was lost and not entered again, or their worker renewed a lost lease.
  -- Those of excluded jobs may be many: some are looked at, so that the server isn't busy for long.
  local page, most = 1, 1000
  if #ARGV > 2 then page, most = 100, 10000 end
  local looked, kept, is_found = 0, 0, false
  while not is_found and looked < most do
    local found = redis.call('ZRANGE', order, kept, kept + page - 1, 'WITHSCORES')
    if #found == 0 then break end
    for place = 1, #found, 2 do
      local member, rank = found[place], tonumber(found[place + 1])
      looked = looked + 1
      if is_excluded(member) and (left_out or waits(member)) then
        left_out, kept = true, kept + 1
      else
        redis.call('ZREM', order, member)
        if waits(member) then
          chosen, is_found = member, true
          local last = tonumber(redis.call('HGET', ranks, 'now') or '') or 0
          -- Rank 0 isn't in the order of the jobs, nor is a shard whose turn came early because others were left out.
          -- Anybody with access to Redis may have written another number, or none.
          if rank > 0 and not left_out and not (last >= rank and last <= 2 ^ 52) then
            redis.call('HSET', ranks, 'now', found[place + 1])
          end
          break
        end
      end
    end
  end
  if left_out and not is_found then return false end
elseif is_excluded(hint) then
  return false
end
if waits(chosen) then redis.call('ZADD', later, now + lease_seconds, chosen) end
return chosen
