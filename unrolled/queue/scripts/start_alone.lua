-- Record that the holder of a suspect starts it with nothing else on board. Each worker counts once: a worker that starts
-- the shard again is alive, so the shard hasn't killed it.
-- Return how many workers have started it alone; 0 if the shard isn't in the ledger.
local ledger, holders, lonely = unpack(KEYS)
local member = unpack(ARGV)

if not redis.call('ZSCORE', ledger, member) then return 0 end
local holder = redis.call('HGET', holders, member) or ''
local count, last = string.match(redis.call('HGET', lonely, member) or '0 ', '^(%d+) (.*)$')
if holder ~= '' and holder == last then return tonumber(count) end
redis.call('HSET', lonely, member, (count + 1) .. ' ' .. holder)
return count + 1
