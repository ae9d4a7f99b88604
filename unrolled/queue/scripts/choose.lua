-- Choose the shard that is computed next: the one whose rank is lowest. A message only says that some shard waits; `hint`
-- is the shard that it names, which is chosen where it waits without a rank, because a key was lost.
-- The chosen shard is due for a new message if its worker doesn't claim it within a lease.
-- Return its member; the hint if no shard waits.
local ledger, leases, order, ranks, later = unpack(KEYS)
local hint, lease_seconds = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local function waits(member)
  if not redis.call('ZSCORE', ledger, member) then return false end
  local expiry = redis.call('ZSCORE', leases, member)
  return not expiry or tonumber(expiry) <= now
end

local chosen = hint
if not waits(hint) or redis.call('ZSCORE', order, hint) or redis.call('ZSCORE', later, hint) then
  -- Members that don't wait are rare: their job was lost and not entered again, or their worker renewed a lost lease.
  for _ = 1, 1000 do
    local member, rank = unpack(redis.call('ZPOPMIN', order))
    if not member then break end
    if waits(member) then
      chosen = member
      local last = tonumber(redis.call('HGET', ranks, 'now') or '') or 0
      -- Rank 0 isn't in the order of the jobs. Anybody with access to Redis may have written another number, or none.
      if tonumber(rank) > 0 and not (last >= tonumber(rank) and last <= 2 ^ 52) then
        redis.call('HSET', ranks, 'now', rank)
      end
      break
    end
  end
end
if waits(chosen) then redis.call('ZADD', later, now + lease_seconds, chosen) end
return chosen
