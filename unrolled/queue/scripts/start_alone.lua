-- Record that the holder of a suspect starts it with nothing else on board. Each worker counts once: one that starts
-- the shard again has died neither of the shard nor of an answer that got lost.
-- Return how many workers have started it alone, 0 where the shard is not in the ledger.
local ledger, holders, lonely = unpack(KEYS)
local member = unpack(ARGV)

if not redis.call('ZSCORE', ledger, member) then return 0 end
local holder = redis.call('HGET', holders, member) or ''
local count, last = string.match(redis.call('HGET', lonely, member) or '0 ', '^(%d+) (.*)$')
if holder ~= '' and holder == last then return tonumber(count) end
redis.call('HSET', lonely, member, (count + 1) .. ' ' .. holder)
return count + 1
